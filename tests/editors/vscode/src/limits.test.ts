/** A folder that is not trusted, and a machine without the command. */

import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { PYTHON, startCode, type Options } from "./code";
import { until } from "./until";
import { Window } from "./window";

const FILES = { "a.py": "# a\n", ".vscode/settings.json": '{"qcn.path": "/bin/false"}' };
const SCRIPT = [["name = ", "first"]] as const;
const MODULE = "tests.fakes.lsp_daemon";

test("where a folder is not trusted, completions come, the server is told, and the folder names no program", async () => {
  await using(async (code, window) => {
    await window.status("not trusted: completions only");
    assert.equal(code.served.entries("initialize").at(-1)?.options?.qcnTrusted, false);
    await window.toEnd();
    await window.type("name = ");
    await window.ghost("first");
    await window.picture("10-untrusted");
    await window.press("Tab");
    await window.holds("a.py", "# a\nname = first");
  }, { files: FILES, script: SCRIPT, module: MODULE }, "untrusted");
});

test("without the command it says so with a button, and Try Again finds it once it is there", async () => {
  await using(async (code, window) => {
    await window.status("was not found");
    const toast = window.page.locator(".notification-toast").filter({ hasText: "qcn.path" });
    await toast.first().waitFor();
    await window.picture("11-missing");
    const file = path.join(code.place, "qcn-agent");
    writeFileSync(file, `#!/bin/sh\nexec '${PYTHON}' -m ${MODULE} "$@"\n`);
    chmodSync(file, 0o755);
    await toast.getByRole("button", { name: "Try Again" }).click();
    await window.status("with scripted");
    await until("a server", () => code.served.entries("initialize")[0]);
  }, { files: { "a.py": "# a\n" }, script: SCRIPT, module: undefined }, "trusted");
});

test("a command that ends at once is said to fail, and Restart tries again", async () => {
  await using(async (code, window) => {
    await window.status("does not run");
    const toast = window.page.locator(".notification-toast").filter({ hasText: "does not run" });
    await toast.first().waitFor();
    await window.picture("12-failed");
    writeFileSync(path.join(code.place, "qcn-agent"), `#!/bin/sh\nexec '${PYTHON}' -m ${MODULE} "$@"\n`);
    await toast.getByRole("button", { name: "Restart" }).click();
    await window.status("with scripted");
    assert.equal(await window.page.locator(".notification-toast").count(), 0);  // it was said once
  }, { files: { "a.py": "# a\n" }, module: "no_such_module" }, "trusted");
});

type Work = (code: Awaited<ReturnType<typeof startCode>>, window: Window) => Promise<void>;

async function using(work: Work, options: Options, trust: "trusted" | "untrusted"): Promise<void> {
  const code = await startCode(options);
  const window = await Window.open(code, trust).catch(async (error: unknown) => {
    await code.stop();
    throw error;
  });
  try {
    await work(code, window);
  } finally {
    await window.close();
    await code.stop();
  }
}
