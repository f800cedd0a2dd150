/** The menu behind the status bar item, and the page with the daemon's status. */

import { commands, window } from "vscode";
import { settings } from "./configuration";
import { report } from "./report";
import type { Server } from "./server";

/** Let the user choose a command of this extension. */
export async function menu(): Promise<void> {
  const toggle = settings().isAutocompleteOn ? "Turn autocomplete off" : "Turn autocomplete on";
  const items = [
    { label: `$(sparkle) ${toggle}`, command: "qcn.toggleAutocomplete" },
    { label: "$(info) Status", command: "qcn.showStatus" },
    { label: "$(debug-restart) Restart", command: "qcn.restart" },
    { label: "$(output) Open log", command: "qcn.openLog" },
  ];
  const chosen = await window.showQuickPick(items, { title: "qcn-agent" });
  if (chosen !== undefined) {
    await commands.executeCommand(chosen.command);
  }
}

/** What the daemon says of itself. */
export async function showStatus(server: Server): Promise<void> {
  const status = await server.status();
  if (status === undefined) {
    void window.showWarningMessage("qcn-agent: no daemon answers", "Restart", "Open Log").then(follow);
    return;
  }
  void window.showInformationMessage("qcn-agent", { modal: true, detail: report(status).join("\n") });
}

/** Do what a button of a message says. */
export async function follow(button: string | undefined): Promise<void> {
  const command = { Restart: "qcn.restart", "Open Log": "qcn.openLog" }[button ?? ""];
  if (command !== undefined) {
    await commands.executeCommand(command);
  }
}
