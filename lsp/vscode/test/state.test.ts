import assert from "node:assert/strict";
import { test } from "node:test";
import { display, modelStatusOf, NO_MODEL, type State } from "../src/state";

const RUNNING: State = { phase: "running", model: NO_MODEL, isAutocompleteOn: true, isLanguageOn: true, isTrusted: true };

test("each phase looks different, and only trouble is red", () => {
  const phases = ["starting", "running", "missing", "failed", "stopped"] as const;
  const shown = phases.map((phase) => display({ ...RUNNING, phase }));
  assert.equal(new Set(shown.map((one) => one.tooltip)).size, phases.length);
  assert.deepEqual(shown.map((one) => one.isError), [false, false, true, true, false]);
});

test("a model that loads spins, and is named", () => {
  const model = { state: "loading", name: "big.gguf", reason: "" } as const;
  const shown = display({ ...RUNNING, model });
  assert.match(shown.text, /spin/);
  assert.match(shown.tooltip, /big\.gguf/);
});

test("a model that failed says why and what to do", () => {
  const model = modelStatusOf({ model: { state: "failed", path: "/m/big.gguf", reason: "no memory", hint: "lower n_ctx" } });
  const shown = display({ ...RUNNING, model });
  assert.equal(shown.isError, true);
  assert.match(shown.tooltip, /no memory; lower n_ctx/);
});

test("off is told apart: for all, or for this language", () => {
  assert.match(display({ ...RUNNING, isAutocompleteOn: false }).tooltip, /autocomplete is off$/);
  assert.match(display({ ...RUNNING, isLanguageOn: false }).tooltip, /off for this language/);
  assert.match(display({ ...RUNNING, isLanguageOn: false }).text, /circle-slash/);
});

test("a folder that is not trusted is said to be limited", () => {
  assert.match(display({ ...RUNNING, isTrusted: false }).tooltip, /not trusted: completions only/);
  assert.doesNotMatch(display(RUNNING).tooltip, /trusted/);
});

test("a model is called by its name, else by its file", () => {
  assert.equal(modelStatusOf({ model: { state: "loaded", model_name: "qcn-mini", path: "/m/x.gguf" } }).name, "qcn-mini");
  assert.equal(modelStatusOf({ model: { state: "none", path: "/m/x.gguf" } }).name, "x.gguf");
});

test("an answer that is not as expected is not known, never an error", () => {
  for (const status of [undefined, null, 3, "x", [], {}, { model: null }, { model: { state: "new" } }]) {
    assert.deepEqual(modelStatusOf(status), NO_MODEL);
  }
});
