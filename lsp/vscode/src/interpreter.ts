/** The Python environment that the user has selected for this workspace. */

import { homedir } from "node:os";
import { extensions, workspace } from "vscode";
import type { Places } from "./locate";
import { settings } from "./configuration";
import { field, text } from "./state";

const PYTHON_EXTENSION = "ms-python.python";

/** Where to look for the command. A folder that is not trusted does not name a program to run. */
export async function places(): Promise<Places> {
  return {
    setting: settings().path,
    interpreter: workspace.isTrusted ? await selectedInterpreter() : "",
    searchPath: process.env["PATH"] ?? "",
    home: homedir(),
  };
}

async function selectedInterpreter(): Promise<string> {
  const folder = workspace.workspaceFolders?.[0]?.uri;
  return (await ofPythonExtension(folder)) || ofSetting(folder?.fsPath ?? "");
}

/** As the Python extension says, if it is there. Its interface is foreign: nothing is taken for granted. */
async function ofPythonExtension(folder: unknown): Promise<string> {
  try {
    const api: unknown = await extensions.getExtension(PYTHON_EXTENSION)?.activate();
    const environments = field(api, "environments");
    const ask = field(environments, "getActiveEnvironmentPath");
    return typeof ask === "function" ? text(field(ask.call(environments, folder), "path")) : "";
  } catch {
    return "";
  }
}

function ofSetting(folder: string): string {
  const given = text(workspace.getConfiguration("python").get<unknown>("defaultInterpreterPath"));
  return given.replace("${workspaceFolder}", folder);
}
