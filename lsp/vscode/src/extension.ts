/** Puts the parts together. */

import { commands, window, workspace, type ConfigurationChangeEvent, type ExtensionContext } from "vscode";
import { toggleAutocomplete } from "./configuration";
import { menu, showStatus } from "./menu";
import { Server } from "./server";
import { StatusBar } from "./statusbar";
import { watchForTrouble } from "./trouble";

let server: Server | undefined;

/** VS Code calls this once a window. */
export function activate(context: ExtensionContext): void {
  const log = window.createOutputChannel("qcn-agent", { log: true });
  const mine = new Server(log);
  server = mine;
  context.subscriptions.push(
    log,
    mine,
    new StatusBar(mine),
    watchForTrouble(mine, context),
    commands.registerCommand("qcn.menu", menu),
    commands.registerCommand("qcn.toggleAutocomplete", toggleAutocomplete),
    commands.registerCommand("qcn.showStatus", () => showStatus(mine)),
    commands.registerCommand("qcn.restart", () => mine.restart()),
    commands.registerCommand("qcn.openLog", () => log.show()),
    workspace.onDidGrantWorkspaceTrust(() => mine.restart()),
    workspace.onDidChangeConfiguration((event) => follow(mine, event)),
  );
  void mine.restart();
}

/** VS Code calls this when the window goes, and waits for it. */
export async function deactivate(): Promise<void> {
  await server?.stop();
}

async function follow(of: Server, event: ConfigurationChangeEvent): Promise<void> {
  if (event.affectsConfiguration("qcn.path")) {
    await of.restart();
  } else if (event.affectsConfiguration("qcn.trace")) {
    await of.applyTrace();
  }
}
