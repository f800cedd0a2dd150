import assert from "node:assert/strict";
import { test } from "node:test";
import { pause, type Cancellable } from "../src/pause";

class Token implements Cancellable {
  isCancellationRequested = false;
  readonly listeners = new Set<() => void>();

  onCancellationRequested(listener: () => void): { dispose(): void } {
    this.listeners.add(listener);
    return { dispose: () => this.listeners.delete(listener) };
  }

  cancel(): void {
    this.isCancellationRequested = true;
    [...this.listeners].forEach((listener) => listener());
  }
}

test("a pause ends by itself after its time, not before", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const token = new Token();
  const over = pause(100, token);
  context.mock.timers.tick(99);
  assert.equal(token.listeners.size, 1);
  context.mock.timers.tick(1);
  assert.equal(token.listeners.size, 0);
  return over.then((isOver) => assert.equal(isOver, true));
});

test("a pause that is cancelled ends at once, and leaves nobody listening", async () => {
  const token = new Token();
  const over = pause(3_600_000, token);
  token.cancel();
  assert.equal(await over, false);
  assert.equal(token.listeners.size, 0);
});

test("a pause that was cancelled before does not begin", async () => {
  const token = new Token();
  token.cancel();
  assert.equal(await pause(3_600_000, token), false);
  assert.equal(token.listeners.size, 0);
});
