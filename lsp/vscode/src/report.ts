/** The answer to `qcn/status` as lines for a person. Pure. */

import { field, modelStatusOf, text } from "./state";

/** Lines of plain text. Nothing that the answer lacks is made up. */
export function report(status: unknown): string[] {
  const model = modelStatusOf(status);
  const lines = [`qcn-agent ${text(field(status, "version"))}, process ${number(field(status, "pid"))}`];
  lines.push(`model: ${model.state}${model.name ? ` (${model.name})` : ""}${model.reason ? `: ${model.reason}` : ""}`);
  const runs = field(status, "runs");
  lines.push(`fixes under way: ${Array.isArray(runs) && runs.length > 0 ? runs.join(", ") : "none"}`);
  lines.push(`editors and terminals connected: ${number(field(status, "num_clients"))}`);
  return lines;
}

function number(value: unknown): string {
  return typeof value === "number" ? String(value) : "?";
}
