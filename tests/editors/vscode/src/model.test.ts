/** The whole path: the real shim and daemon with the embedded model. What it offers is the model's own affair. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { PYTHON, startCode, type Code } from "./code";
import { until } from "./until";
import { Window } from "./window";

const FILE = "new.py";
const TYPED = 'def double(value):\n    """Twice the value."""\n    return ';
// Whatever comes is shown, however slow the machine.
const PATIENT = { QCN_COMPLETION_MIN_LOGPROB: "-100", QCN_COMPLETION_ANSWER_MS: "20000", QCN_COMPLETION_HARD_MS: "30000" };

let code: Code;
let window: Window;

before(async () => {
  code = await startCode({ files: { [FILE]: "" }, module: "qcn_agent", env: PATIENT });
  window = await Window.open(code, "trusted");
});

after(async () => {
  await window?.close();
  await code?.stop();
});

test("the first request loads the model, and the status bar says which", async () => {
  await window.toEnd();
  await window.type("#\n");
  await window.status("qcn-agent with ");
});

test("what the model offers is what Tab puts in, and it is counted", async () => {
  await window.type(TYPED);
  await window.holds(FILE, `#\n${TYPED}`);
  await window.command("Trigger Inline Suggestion");
  const offered = await window.anyGhost();
  await window.picture("13-model");
  await window.press("Tab");
  const text = await until("it was put in", () => {
    const now = code.held.text(FILE) ?? "";
    return now.length > `#\n${TYPED}`.length ? now : undefined;
  });
  assert.ok(text.startsWith(`#\n${TYPED}`), text);
  assert.equal(text.slice(`#\n${TYPED}`.length).replaceAll("\n", ""), offered);
  await window.status("qcn-agent with ");
  await promisify(execFile)(PYTHON, ["-m", "qcn_agent", "stop"], { env: code.env });  // it writes its counts
  await until("it was counted", async () => ((await counts())["accepted"] === 1 ? true : undefined));
});

/** What was counted for Python. */
async function counts(): Promise<{ readonly [event: string]: number }> {
  const { stdout } = await promisify(execFile)(PYTHON, ["-m", "qcn_agent", "stats", "--json"], { env: code.env });
  const said = JSON.parse(stdout) as { readonly languages: { readonly [name: string]: { readonly [event: string]: number } } };
  return said.languages["python"] ?? {};
}
