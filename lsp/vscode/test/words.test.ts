import assert from "node:assert/strict";
import { test } from "node:test";
import { failureText } from "../src/failure";
import { outcomeText } from "../src/outcome";
import { report } from "../src/report";

test("a failure gives the daemon's message and its hint", () => {
  const error = { code: -32603, message: "calc.py is not saved", data: { exit_code: 2, hint: "save your files first" } };
  assert.equal(failureText(error), "qcn-agent: calc.py is not saved. Save your files first");
});

test("a failure without a hint is its message, and anything else is shown as it is", () => {
  assert.equal(failureText(new Error("it died")), "qcn-agent: it died");
  assert.equal(failureText("odd"), "qcn-agent: odd");
});

test("what was cancelled is no failure", () => {
  assert.deepEqual([-32800, -32802].map((code) => failureText({ code, message: "cancelled" })), [undefined, undefined]);
});

test("a patch that the editor has not made is told, everything else is not", () => {
  assert.match(outcomeText({ ending: "fixed", applied: false }) ?? "", /fixed.*was not made/);
  const quiet = [{ ending: "fixed", applied: true }, { ending: "cancelled", applied: false }, { ending: "no_patch", applied: false }, null];
  assert.deepEqual(quiet.map(outcomeText), [undefined, undefined, undefined, undefined]);
});

test("the report has version, process, model, fixes and clients", () => {
  const model = { state: "loaded", model_name: "qcn-mini" };
  assert.deepEqual(report({ version: "0.1.0", pid: 20308, num_clients: 2, runs: ["/a"], model }), [
    "qcn-agent 0.1.0, process 20308",
    "model: loaded (qcn-mini)",
    "fixes under way: /a",
    "editors and terminals connected: 2",
  ]);
});

test("the report makes nothing up", () => {
  assert.deepEqual(report({}).slice(1), ["model: unknown", "fixes under way: none", "editors and terminals connected: ?"]);
});
