/** The code action, with the real daemon and a scripted model: the agent edits, the project's tests judge. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { python, startCode, type Code } from "./code";
import { until } from "./until";
import { Window } from "./window";

const WRONG = "return max(low, value)";
const RIGHT = "return max(low, min(value, high))";
const CALC = `def clamp(value, low, high):\n    ${WRONG}\n`;
const FILES = {
  "calc.py": CALC,
  "conftest.py": "",
  "tests/test_calc.py": "from calc import clamp\n\n\ndef test_clamp():\n    assert clamp(5, 0, 3) == 3\n",
};
const TURNS = [call("read_file", { path: "calc.py" }), call("edit_file", { path: "calc.py", old_string: WRONG, new_string: RIGHT })];

const QUIET = { "qcn.autocomplete.enable": false };
const BLIND = { ...QUIET, "files.watcherExclude": { "**": true } };  // the editor does not follow the disk

test("a problem is fixed: previewed, applied as one step, undone as one", async () => {
  await using(BLIND, async (code, window) => {
    await ask(window);
    const apply = window.page.getByRole("button", { name: "Apply" }).first();
    await apply.waitFor({ timeout: 60_000 });
    assert.equal(code.held.text("calc.py"), CALC);
    await window.page.locator('.bulk-edit-panel input[type="checkbox"]').first().click();  // VS Code ticks nothing itself
    await window.picture("8-preview");
    await apply.click();
    await window.holds("calc.py", CALC.replace(WRONG, RIGHT));
    assert.equal(readFileSync(path.join(code.folder, "calc.py"), "utf8"), CALC);
    await window.picture("9-applied");

    await window.page.locator(".monaco-editor .view-lines").first().click();
    await window.press("Control+z");
    await window.holds("calc.py", CALC);
  });
});

test("an editor that reads files again as they change on disk gets the edit all the same", async () => {
  await using(QUIET, async (_, window) => {
    await ask(window);
    await window.page.getByRole("button", { name: "Apply" }).first().waitFor({ timeout: 20_000 });
  });
});

/** Work in a trusted window; the daemon's model knows the fix. */
async function using(settings: { readonly [name: string]: unknown }, work: (code: Code, window: Window) => Promise<void>): Promise<void> {
  const code = await startCode({ files: FILES, module: "qcn_agent", settings });
  let window: Window | undefined;
  try {
    python(code, ["-m", "tests.fakes.scripted_daemon", ...TURNS]).unref();
    await until("the daemon", () => (endpointIsThere(code) ? true : undefined));
    window = await Window.open(code, "trusted");
    await window.status("with scripted");
    await work(code, window);
  } finally {
    await window?.close();
    await code.stop();
  }
}

/** Choose the code action at the problem. */
async function ask(window: Window): Promise<void> {
  await window.page.locator(".squiggly-error").first().waitFor();
  await window.page.locator(".monaco-editor .view-line").nth(1).click();
  await until("the action is offered", async () => {
    await window.press("Control+.");
    const row = window.page.getByText("Fix with qcn-agent: clamp ignores high").first();
    return row.waitFor({ timeout: 2_000 }).then(() => true as const, () => window.press("Escape").then(() => undefined));
  });
  await window.picture("7-code-action");
  await window.press("Enter");  // the menu lies under a sheet that takes clicks
}

/** A tool call as the model writes it. */
function call(name: string, values: { readonly [key: string]: string }): string {
  const parameters = Object.entries(values).map(([key, value]) => `<parameter=${key}>\n${value}\n</parameter>\n`);
  return `<tool_call>\n<function=${name}>\n${parameters.join("")}</function>\n</tool_call>`;
}

function endpointIsThere(of: Code): boolean {
  try {
    return readFileSync(path.join(of.place, "home/state/daemon.json"), "utf8") !== "";
  } catch {
    return false;
  }
}
