/** Ghost text in a real VS Code, answered by recorded text. */

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { startCode, type Code } from "./code";
import { until } from "./until";
import { Window } from "./window";

const FILE = "shop.py";
const START = "# shop\n";
const BLOCK = "total(items):\n    result = 0\n    for item in items:\n        result += item.price\n    return result";
const SCRIPT = [
  ["def ", BLOCK],
  ["name = ", "first + ' ' + last"],
  ["face = '😀'\nsmile = ", "face.upper()"],
  ["print(", "total([]))"],
] as const;

let code: Code;
let window: Window;

before(async () => {
  code = await startCode({ files: { [FILE]: START }, script: SCRIPT, module: "tests.fakes.lsp_daemon" });
  window = await Window.open(code, "trusted");
  await window.status("with scripted");
});

after(async () => {
  await window?.close();
  await code?.stop();
});

beforeEach(async () => {
  await window.toEnd();
  await window.press("Escape", "Control+A");
  await window.type(START);
  await window.holds(FILE, START);
});

test("what is offered is shown as ghost text, and Tab puts exactly that in", async () => {
  await window.type("name = ");
  assert.equal(await window.ghost("first"), "first + ' ' + last");
  await window.picture("1-ghost-text");
  await window.press("Tab");
  await window.holds(FILE, `${START}name = first + ' ' + last`);
  await until("the server hears of it", () => code.served.entries("command").find((entry) => entry.command === "qcn.accepted"));
  assert.equal(code.served.entries("initialize").at(-1)?.options?.qcnTrusted, true);
});

test("typing along keeps the rest, and Tab right after a key adds nothing twice", async () => {
  await window.type("name = ");
  await window.ghost("first");
  await window.type("fir");
  await window.ghost("st + ' ' + last");
  await window.type("s");
  await window.press("Tab");
  await window.holds(FILE, `${START}name = first + ' ' + last`);
});

test("Ctrl+Right takes a word at a time, then Tab the rest", async () => {
  await window.type("name = ");
  await window.ghost("first");
  await window.press("Control+ArrowRight");
  await window.holds(FILE, `${START}name = first`);
  await window.picture("2-word-accepted");
  await window.press("Control+ArrowRight");
  await window.holds(FILE, `${START}name = first `);  // to VS Code a space is a word of its own
  await window.press("Tab");
  await window.holds(FILE, `${START}name = first + ' ' + last`);
});

test("all lines of a block are shown and put in", async () => {
  await window.type("def ");
  const shown = await window.ghost("return result");
  assert.match(shown, /total\(items\):/);
  await window.picture("3-block");
  await window.press("Tab");
  await window.holds(FILE, `${START}def ${BLOCK}`);
});

test("places are counted as the editor counts them, behind characters of two units", async () => {
  await window.page.keyboard.insertText("face = '😀'\n");
  await window.type("smile = ");
  await window.ghost("face.upper()");
  await window.press("Tab");
  await window.holds(FILE, `${START}face = '😀'\nsmile = face.upper()`);
  await until("the server has it, too", () => (code.served.text(FILE) === code.held.text(FILE) ? true : undefined));
});

test("the switch in the palette turns ghost text off, and on again", async () => {
  await window.command("qcn-agent: Toggle Autocomplete");
  await window.status("autocomplete is off");
  const asked = code.served.entries("asked").length;
  await window.toEnd();
  await window.type("name = ");
  await window.holds(FILE, `${START}name = `);
  await until("the server has the text", () => (code.served.text(FILE) === `${START}name = ` ? true : undefined));
  assert.equal(await window.ghostNow(), "");
  assert.equal(code.served.entries("asked").length, asked);
  await window.command("qcn-agent: Toggle Autocomplete");
  await until("it is on", async () => ((await window.status("qcn-agent")).includes("is off") ? undefined : true));
});

test("the item in the status bar opens a menu with all there is to do", async () => {
  await window.page.locator('[id="qcn.qcn-agent.qcn.status"] a').first().click();
  const rows = window.page.locator(".quick-input-list .monaco-list-row");
  await rows.nth(3).waitFor();
  const labels = (await rows.allInnerTexts()).map((label) => label.trim());
  assert.deepEqual(labels, ["Turn autocomplete off", "Status", "Restart", "Open log"]);
  await window.picture("4-menu");
  await rows.nth(1).click();
  const said = await window.page.locator(".monaco-dialog-box").innerText();
  assert.match(said, /model: loaded \(scripted\)/);
  await window.picture("5-status");
  await window.press("Escape");
});

test("a daemon that is killed comes back, and knows what was typed meanwhile", async () => {
  const killed = code.served.entries("served").at(-1)?.pid;
  assert.ok(killed);
  process.kill(killed, "SIGKILL");
  await window.type("x = 1\ny = 'ä😀'\n");
  const next = await until("another daemon", () => code.served.entries("served").find((entry) => entry.pid !== killed)?.pid);
  await window.type("print(");
  await window.ghost("total([]))");
  await window.picture("6-daemon-back");
  await window.press("Tab");
  await window.holds(FILE, `${START}x = 1\ny = 'ä😀'\nprint(total([]))`);
  await until("the same text at both ends", () => (code.served.text(FILE, next) === code.held.text(FILE) ? true : undefined));
});
