/** Waiting that can be given up. */

export interface Cancellable {
  readonly isCancellationRequested: boolean;
  onCancellationRequested(listener: () => void): { dispose(): void };
}

/** Wait for `ms` milliseconds; false at once when `token` is cancelled, before or meanwhile. */
export async function pause(ms: number, token: Cancellable): Promise<boolean> {
  if (token.isCancellationRequested) {
    return false;
  }
  return new Promise((resolve) => {
    const end = (isOver: boolean): void => {
      clearTimeout(timer);
      listening.dispose();
      resolve(isOver);
    };
    const timer = setTimeout(() => end(true), ms);
    const listening = token.onCancellationRequested(() => end(false));
  });
}
