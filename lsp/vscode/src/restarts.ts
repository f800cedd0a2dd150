/** Whether a server that has ended by itself is started again. Pure. */

const MAX_ENDS = 3;
const WITHIN_MS = 180_000;

/** Counts how often it has ended of late. One that never ran is not started again: it would end the same way. */
export class Restarts {
  private ends: number[] = [];
  private hasRun = false;
  /** Whether it is started again after it has ended the last time. */
  isAgain = false;

  ran(): void {
    this.hasRun = true;
  }

  /** Note that it has ended now; whether to start it again. */
  ended(nowMs: number): boolean {
    this.ends = [...this.ends.filter((endMs) => nowMs - endMs < WITHIN_MS), nowMs];
    this.isAgain = this.hasRun && this.ends.length < MAX_ENDS;
    return this.isAgain;
  }
}
