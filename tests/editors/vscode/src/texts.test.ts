/** The server has each document's text exactly, and ghost text lands where it belongs, whatever the file is. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startCode, type Code } from "./code";
import { until } from "./until";
import { Window } from "./window";

const ANSWER = "first + 'ä😀'\nlast = 1";
const SCRIPT = [["name = ", ANSWER]] as const;
const FILES = {
  "lf.py": "a = 1\n",
  "dos.py": "a = 1\r\nb = 2\r\n",
  "ends.py": "a = '\u2028\u2029'\nb = '\x85\x0b\x0c'\n",
  "größe 😀.py": "# é\n",
  "old.py": "a = 1\n",
};
const SETTINGS = { "editor.unusualLineTerminators": "off", "editor.unicodeHighlight.ambiguousCharacters": false };

let code: Code;
let window: Window;

before(async () => {
  code = await startCode({ files: FILES, script: SCRIPT, module: "tests.fakes.lsp_daemon", settings: SETTINGS });
  window = await Window.open(code, "trusted");
  await window.status("with scripted");
});

after(async () => {
  await window?.close();
  await code?.stop();
});

for (const [name, text] of Object.entries(FILES).slice(0, 4)) {
  test(`${name}: what is accepted has the file's own line ends, and one undo takes it back`, async () => {
    await window.open(name);
    await window.type("name = ");
    await window.ghost("last = 1");
    await window.press("Tab");
    const end = text.includes("\r\n") ? "\r\n" : "\n";
    await window.holds(name, `${text}name = ${ANSWER.replaceAll("\n", end)}`);
    await same(name);
    await window.press("Control+z");
    await window.holds(name, `${text}name = `);
    await same(name);
  });
}

test("a file that gets another name is one document, under its new name", async () => {
  await window.open("old.py");
  await window.type("b = 2\n");
  await window.holds("old.py", "a = 1\nb = 2\n");
  await window.press("Control+s");
  await window.rename("old.py", "new.py");
  await window.open("new.py");
  await window.type("name = ");
  await window.ghost("last = 1");
  await window.press("Tab");
  await window.holds("new.py", `a = 1\nb = 2\nname = ${ANSWER}`);
  await same("new.py");
});

test("a shim that is killed is started again, with the text as it is", async () => {
  await window.open("lf.py");
  await window.press("Control+a");
  await window.type("x = 1\n");
  const killed = code.served.entries("shim").at(-1)?.pid;
  assert.ok(killed);
  process.kill(killed, "SIGKILL");
  await window.type("y = 2\n");
  await until("another shim", () => code.served.entries("shim").find((entry) => entry.pid !== killed)?.pid);
  await window.type("name = ");
  await window.ghost("last = 1");
  await window.press("Tab");
  await window.holds("lf.py", `x = 1\ny = 2\nname = ${ANSWER}`);
  await same("lf.py");
});

async function same(name: string): Promise<void> {
  await until(`${name} is the same at both ends`, () => (code.served.text(name) === code.held.text(name) ? true : undefined));
}
