import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { test } from "node:test";
import { candidates, locate, type Places } from "../src/locate";

const NOWHERE: Places = { setting: "", interpreter: "", searchPath: "", home: "/home/me" };

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "qcn-locate-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function program(...parts: string[]): Promise<string> {
  const file = path.join(...parts);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, "#!/bin/sh\n");
  await chmod(file, 0o755);
  return file;
}

test("a setting stands alone", () => {
  const places = { ...NOWHERE, setting: "/opt/q", interpreter: "/v/bin/python", searchPath: "/usr/bin" };
  assert.deepEqual(candidates(places), ["/opt/q"]);
});

test("a setting may begin with the home folder, but is not relative", () => {
  assert.deepEqual(candidates({ ...NOWHERE, setting: "~/bin/q" }), ["/home/me/bin/q"]);
  assert.deepEqual(candidates({ ...NOWHERE, setting: "bin/q", searchPath: "/usr/bin" }), []);
});

test("the selected environment goes before PATH, named by its interpreter or by its folder", () => {
  const places = { ...NOWHERE, interpreter: "/v/bin/python", searchPath: "/usr/bin:/bin" };
  const expected = ["/v/bin/qcn-agent", "/v/bin/python/bin/qcn-agent", "/usr/bin/qcn-agent", "/bin/qcn-agent"];
  assert.deepEqual(candidates(places), expected);
  assert.ok(candidates({ ...NOWHERE, interpreter: "/v" }).includes("/v/bin/qcn-agent"));
});

test("relative folders never name a program: they would be those of the open folder", () => {
  assert.deepEqual(candidates({ ...NOWHERE, interpreter: ".venv/bin/python", searchPath: ":.:bin" }), []);
});

test("the first file that can be run is taken", async () => {
  await inFolder(async (folder) => {
    const found = await program(folder, "b", "qcn-agent");
    await mkdir(path.join(folder, "a", "qcn-agent"), { recursive: true });
    await mkdir(path.join(folder, "c"));
    await writeFile(path.join(folder, "c", "qcn-agent"), "");
    const searchPath = ["a", "none", "c", "b"].map((name) => path.join(folder, name)).join(path.delimiter);
    assert.equal(await locate({ ...NOWHERE, searchPath }), found);
  });
});

test("nothing is found where nothing is", async () => {
  await inFolder(async (folder) => {
    await program(folder, "qcn-agent");
    const places = { ...NOWHERE, setting: path.join(folder, "other"), searchPath: folder };
    assert.equal(await locate(places), undefined);
  });
});
