/** Waiting for something that comes by itself. */

const POLL_MS = 50;

/** What `attempt` gives, as soon as that is something. Throws after `timeoutMs`, saying what was waited for. */
export async function until<T>(what: string, attempt: () => T | undefined | Promise<T | undefined>, timeoutMs = 20_000): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await attempt();
    if (found !== undefined && found !== false) {
      return found;
    }
    if (Date.now() > deadline) {
      throw new Error(`${what}: not within ${timeoutMs} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
