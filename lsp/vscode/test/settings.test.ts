import assert from "node:assert/strict";
import { test } from "node:test";
import { isOffered, settingsOf, type Settings } from "../src/settings";

function given(values: Record<string, unknown>): Settings {
  return settingsOf((key) => values[key]);
}

test("without any setting completions are on everywhere, and nothing is traced", () => {
  assert.deepEqual(given({}), { path: "", isAutocompleteOn: true, debounceMs: 0, languages: {}, trace: "off" });
  assert.equal(isOffered(given({}), "python"), true);
});

test("values are taken as they are given, a path without spaces around it", () => {
  const values = { path: " /opt/qcn-agent ", "autocomplete.enable": false, "autocomplete.debounceMs": 80, trace: "verbose" };
  const expected = { path: "/opt/qcn-agent", isAutocompleteOn: false, debounceMs: 80, languages: {}, trace: "verbose" };
  assert.deepEqual(given(values), expected);
});

test("values of the wrong type count as not given", () => {
  const values = { path: 7, "autocomplete.enable": "no", "autocomplete.debounceMs": "80", languages: 3, trace: "loud" };
  assert.deepEqual(given(values), given({}));
  assert.deepEqual(given({ languages: { python: "yes", go: true } }).languages, { go: true });
});

test("a wait is never negative, endless or longer than a minute", () => {
  const wait = (value: unknown): number => given({ "autocomplete.debounceMs": value }).debounceMs;
  assert.deepEqual([-5, Number.NaN, Number.POSITIVE_INFINITY, 1e9].map(wait), [0, 0, 0, 60_000]);
});

test("a language's own switch goes before the star's", () => {
  const settings = given({ languages: { "*": false, python: true } });
  assert.deepEqual(["python", "go"].map((language) => isOffered(settings, language)), [true, false]);
  assert.equal(isOffered(given({ languages: { markdown: false } }), "markdown"), false);
});

test("off means off, whatever the languages say", () => {
  assert.equal(isOffered(given({ "autocomplete.enable": false, languages: { python: true } }), "python"), false);
});
