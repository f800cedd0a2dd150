/** What a failed command of the server says to a person. Pure. */

import { field, text } from "./state";

const REQUEST_CANCELLED = -32800;
const SERVER_CANCELLED = -32802;

/** The daemon's own message and hint; undefined when it was only cancelled. */
export function failureText(error: unknown): string | undefined {
  const code = field(error, "code");
  if (code === REQUEST_CANCELLED || code === SERVER_CANCELLED) {
    return undefined;
  }
  const message = text(field(error, "message")) || String(error);
  const hint = text(field(field(error, "data"), "hint"));
  return `qcn-agent: ${message}${hint ? `. ${capitalised(hint)}` : ""}`;
}

function capitalised(hint: string): string {
  return hint.charAt(0).toUpperCase() + hint.slice(1);
}
