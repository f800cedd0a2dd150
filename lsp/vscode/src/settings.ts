/** The settings of this extension, as plain values. */

export type TraceLevel = "off" | "messages" | "verbose";

export interface Settings {
  /** As the user gave it; empty: look for it. */
  readonly path: string;
  readonly isAutocompleteOn: boolean;
  readonly debounceMs: number;
  readonly languages: Readonly<Record<string, boolean>>;
  readonly trace: TraceLevel;
}

export const SECTION = "qcn";
export const AUTOCOMPLETE = "autocomplete.enable";

const MAX_DEBOUNCE_MS = 60_000;
const TRACE_LEVELS: readonly TraceLevel[] = ["off", "messages", "verbose"];

/** Settings from what `get` knows of each key. A value of the wrong type counts as not given. */
export function settingsOf(get: (key: string) => unknown): Settings {
  const path = get("path");
  const trace = get("trace");
  return {
    path: typeof path === "string" ? path.trim() : "",
    isAutocompleteOn: get(AUTOCOMPLETE) !== false,
    debounceMs: debounceOf(get("autocomplete.debounceMs")),
    languages: languagesOf(get("languages")),
    trace: TRACE_LEVELS.find((level) => level === trace) ?? "off",
  };
}

/** Whether completions are shown in documents of this language. */
export function isOffered(settings: Settings, languageId: string): boolean {
  return settings.isAutocompleteOn && (settings.languages[languageId] ?? settings.languages["*"] ?? true);
}

function debounceOf(value: unknown): number {
  const isUsable = typeof value === "number" && Number.isFinite(value) && value > 0;
  return isUsable ? Math.min(value, MAX_DEBOUNCE_MS) : 0;
}

function languagesOf(value: unknown): Record<string, boolean> {
  const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return Object.fromEntries(entries.filter((entry): entry is [string, boolean] => typeof entry[1] === "boolean"));
}
