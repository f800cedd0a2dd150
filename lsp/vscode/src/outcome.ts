/** What a fix that ended says to a person. Pure. */

import { field, text } from "./state";

const WITH_A_PATCH = ["fixed", "unproven", "red"];

/** That there is a patch, but the editor has not made it; undefined where nothing is left to say. */
export function outcomeText(result: unknown): string | undefined {
  const ending = text(field(result, "ending"));
  const isLeft = WITH_A_PATCH.includes(ending) && field(result, "applied") === false;
  return isLeft ? `qcn-agent: the fix (${ending}) was not made, nothing was changed` : undefined;
}
