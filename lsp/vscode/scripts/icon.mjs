// Draws media/icon.png from media/icon.svg with a headless browser: node scripts/icon.mjs [BROWSER]
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const SIZE = 256;
const media = fileURLToPath(new URL("../media/", import.meta.url));
const options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--default-background-color=00000000"];
const [browser = "chromium"] = process.argv.slice(2);

execFileSync(
  browser,
  [...options, `--window-size=${SIZE},${SIZE}`, `--screenshot=${media}icon.png`, `file://${media}icon.svg`],
  { stdio: "ignore" },
);
