/** Where the `qcn-agent` command is. */

import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import * as path from "node:path";

const COMMAND = "qcn-agent";

export interface Places {
  /** The setting; an absolute path, or one that begins with `~/`. */
  readonly setting: string;
  /** The selected Python interpreter, or the folder of its environment; empty: none, or not to be trusted. */
  readonly interpreter: string;
  /** The variable PATH. */
  readonly searchPath: string;
  readonly home: string;
}

/**
 * Files to try, best first. A setting stands alone: another installation in its place would surprise.
 * Relative folders of PATH are left out: they would name a file of whatever folder is open.
 */
export function candidates(places: Places): string[] {
  if (places.setting !== "") {
    return [withHome(places.setting, places.home)].filter((file) => path.isAbsolute(file));
  }
  const folders = places.searchPath.split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  return [...beside(places.interpreter), ...folders.map((folder) => path.join(folder, COMMAND))];
}

/** The first file that can be run, or undefined. */
export async function locate(places: Places): Promise<string | undefined> {
  for (const file of candidates(places)) {
    if (await isExecutable(file)) {
      return file;
    }
  }
  return undefined;
}

function beside(interpreter: string): string[] {
  if (!path.isAbsolute(interpreter)) {
    return [];
  }
  return [path.join(path.dirname(interpreter), COMMAND), path.join(interpreter, "bin", COMMAND)];
}

function withHome(file: string, home: string): string {
  return file.startsWith("~/") ? path.join(home, file.slice(2)) : file;
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
