/** What is going on, and how the status bar says it. Pure: nothing of VS Code in here. */

export type Phase = "starting" | "running" | "missing" | "failed" | "stopped";
export type ModelState = "none" | "loading" | "loaded" | "failed" | "unknown";

export interface ModelStatus {
  readonly state: ModelState;
  /** The model's name, or the file that is being loaded; empty: not known. */
  readonly name: string;
  /** Why it failed, and what to do; empty otherwise. */
  readonly reason: string;
}

export interface State {
  readonly phase: Phase;
  readonly model: ModelStatus;
  readonly isAutocompleteOn: boolean;
  /** Whether the document in front is of a language that is switched on. */
  readonly isLanguageOn: boolean;
  readonly isTrusted: boolean;
}

export interface Display {
  readonly text: string;
  readonly tooltip: string;
  readonly isError: boolean;
}

export const NO_MODEL: ModelStatus = { state: "unknown", name: "", reason: "" };

const STATES: readonly ModelState[] = ["none", "loading", "loaded", "failed"];

/** How the status bar shows a state. */
export function display(state: State): Display {
  if (state.phase === "missing") {
    return problem("the qcn-agent command was not found");
  }
  if (state.phase === "failed") {
    return problem("qcn-agent does not run; see its log");
  }
  if (state.phase === "stopped") {
    return { text: "$(circle-slash) qcn", tooltip: "qcn-agent is stopped", isError: false };
  }
  if (state.phase === "starting" || state.model.state === "loading") {
    const what = state.phase === "starting" ? "qcn-agent is starting" : `loading ${state.model.name}`;
    return { text: "$(loading~spin) qcn", tooltip: what, isError: false };
  }
  return state.model.state === "failed" ? problem(`no model: ${state.model.reason}`) : running(state);
}

/** The model's part of an answer to `qcn/status`; whatever is not as expected counts as not known. */
export function modelStatusOf(status: unknown): ModelStatus {
  const model = field(status, "model");
  const state = STATES.find((known) => known === field(model, "state"));
  const name = text(field(model, "model_name")) || fileName(text(field(model, "path")));
  const reason = [text(field(model, "reason")), text(field(model, "hint"))].filter(Boolean).join("; ");
  return state === undefined ? NO_MODEL : { state, name, reason };
}

/** A field of a JSON value that may be anything. */
export function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** A string as it is, else nothing. */
export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function running(state: State): Display {
  const lines = [state.model.name ? `qcn-agent with ${state.model.name}` : "qcn-agent is running"];
  const isOff = !state.isAutocompleteOn || !state.isLanguageOn;
  if (isOff) {
    lines.push(state.isAutocompleteOn ? "autocomplete is off for this language" : "autocomplete is off");
  }
  if (!state.isTrusted) {
    lines.push("this folder is not trusted: completions only");
  }
  return { text: isOff ? "$(circle-slash) qcn" : "$(sparkle) qcn", tooltip: lines.join("\n"), isError: false };
}

function problem(tooltip: string): Display {
  return { text: "$(error) qcn", tooltip, isError: true };
}

function fileName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
