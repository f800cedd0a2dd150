import assert from "node:assert/strict";
import { test } from "node:test";
import { Restarts } from "../src/restarts";

function running(): Restarts {
  const restarts = new Restarts();
  restarts.ran();
  return restarts;
}

test("the third end within three minutes is the last", () => {
  const restarts = running();
  assert.deepEqual([0, 60_000, 179_999].map((nowMs) => restarts.ended(nowMs)), [true, true, false]);
});

test("ends of long ago don't count", () => {
  const restarts = running();
  assert.deepEqual([0, 60_000, 180_000, 240_000].map((nowMs) => restarts.ended(nowMs)), [true, true, true, true]);
});

test("what never ran is not started again", () => {
  assert.equal(new Restarts().ended(0), false);
});
