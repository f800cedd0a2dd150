/** Files to which others append a line of JSON for each thing that happens. */

import { existsSync, readFileSync } from "node:fs";

export interface Entry {
  readonly kind: string;
  readonly pid?: number;
  readonly uri?: string;
  readonly text?: string;
  readonly line?: string;
  readonly command?: string;
  readonly options?: { readonly qcnTrusted?: boolean };
}

export class Record {
  constructor(readonly file: string) {}

  /** All entries of a kind. */
  entries(kind: string): Entry[] {
    const lines = existsSync(this.file) ? readFileSync(this.file, "utf8").split("\n").slice(0, -1) : [];
    return lines.map((line) => JSON.parse(line) as Entry).filter((entry) => entry.kind === kind);
  }

  /** The latest text of the file with this name, as one process has it, or any. */
  text(name: string, pid?: number): string | undefined {
    const texts = this.entries("text").filter((entry) => entry.uri?.endsWith(`/${encodeURI(name)}`));
    return texts.filter((entry) => pid === undefined || entry.pid === pid).at(-1)?.text;
  }
}
