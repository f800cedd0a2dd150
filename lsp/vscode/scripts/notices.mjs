// Writes out/THIRD_PARTY_NOTICES.txt: the licence of each package that is in the bundle, as out/meta.json tells it.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const inputs = Object.keys(JSON.parse(readFileSync(`${root}out/meta.json`, "utf8")).inputs);
const packages = new Set(inputs.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? []));

const notices = [...packages].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(`${root}${folder}/package.json`, "utf8"));
  const file = readdirSync(root + folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined || !existsSync(`${root}${folder}/${file}`)) {
    throw new Error(`${name} has no licence file`);
  }
  return `${name} ${version} (${license})\n\n${readFileSync(`${root}${folder}/${file}`, "utf8").trim()}\n`;
});
writeFileSync(`${root}out/THIRD_PARTY_NOTICES.txt`, notices.join(`\n${"-".repeat(80)}\n\n`));
