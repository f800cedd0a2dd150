/** Messages for what the user has to put right: said once for each time that it happens. */

import { commands, Uri, window, type Disposable, type ExtensionContext } from "vscode";
import { settings } from "./configuration";
import { follow } from "./menu";
import type { Server } from "./server";
import type { Phase } from "./state";

const SET_PATH = "Set Path";
const HOW_TO_INSTALL = "How to Install";
const TRY_AGAIN = "Try Again";

/** Watch a server, and say so when it is missing or has given up. */
export function watchForTrouble(server: Server, context: ExtensionContext): Disposable {
  let before: Phase = server.phase;
  return server.onDidChange(() => {
    const now = server.phase;
    if (now !== before && now === "missing") {
      void tellMissing(context);
    } else if (now !== before && now === "failed") {
      void window.showErrorMessage("qcn-agent does not run.", "Restart", "Open Log").then(follow);
    }
    before = now;
  });
}

async function tellMissing(context: ExtensionContext): Promise<void> {
  const { path } = settings();
  const where = path ? `There is nothing to run at ${path}, the setting qcn.path.` : "The qcn-agent command was not found on PATH.";
  const answer = await window.showWarningMessage(where, HOW_TO_INSTALL, SET_PATH, TRY_AGAIN);
  if (answer === SET_PATH) {
    await commands.executeCommand("workbench.action.openSettings", "qcn.path");
  } else if (answer === HOW_TO_INSTALL) {
    await commands.executeCommand("markdown.showPreview", Uri.joinPath(context.extensionUri, "readme.md"));
  } else if (answer === TRY_AGAIN) {
    await commands.executeCommand("qcn.restart");
  }
}
