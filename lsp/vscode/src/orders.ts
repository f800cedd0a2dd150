/** Commands that the server offers, and what is said when one fails. */

import { window, workspace } from "vscode";
import { ExecuteCommandRequest, type LanguageClient } from "vscode-languageclient/node";
import { failureText } from "./failure";
import { outcomeText } from "./outcome";

const ACCEPTED = "qcn.accepted";
const FIX = "qcn.fixDiagnostic";
const SAVE_AND_FIX = "Save All and Fix";

/** Run a command of the server. A failure is told to the user, but for the silent one of having accepted. */
export async function order(client: LanguageClient, command: string, args: unknown[]): Promise<unknown> {
  if (command === FIX && !(await isSaved())) {
    return undefined;
  }
  try {
    const result: unknown = await client.sendRequest(ExecuteCommandRequest.type, { command, arguments: args });
    tell(outcomeText(result));
    return result;
  } catch (error) {
    const said = failureText(error);
    if (said !== undefined && command !== ACCEPTED) {
      void window.showErrorMessage(said);
    }
    return undefined;
  }
}

function tell(said: string | undefined): void {
  if (said !== undefined) {
    void window.showInformationMessage(said);
  }
}

/** The agent works with what is on disk, so all has to be there first. False: the user would rather not. */
async function isSaved(): Promise<boolean> {
  const unsaved = workspace.textDocuments.filter((document) => document.isDirty && document.uri.scheme === "file");
  if (unsaved.length === 0) {
    return true;
  }
  const question = "qcn-agent works with what is on disk, and some files are not saved.";
  const answer = await window.showInformationMessage(question, SAVE_AND_FIX);
  return answer === SAVE_AND_FIX && (await workspace.saveAll(false));
}
