/** The item in the status bar, kept current. */

import { StatusBarAlignment, ThemeColor, window, workspace, type Disposable, type StatusBarItem } from "vscode";
import { settings } from "./configuration";
import type { Server } from "./server";
import { isOffered } from "./settings";
import { display, modelStatusOf, NO_MODEL, type ModelStatus, type State } from "./state";

const POLL_MS = 5_000;

export class StatusBar implements Disposable {
  private readonly item: StatusBarItem = window.createStatusBarItem("qcn.status", StatusBarAlignment.Right, 100);
  private readonly timer: NodeJS.Timeout;
  private readonly listening: Disposable[];
  private model: ModelStatus = NO_MODEL;

  constructor(private readonly server: Server) {
    this.item.name = "qcn-agent";
    this.item.command = "qcn.menu";
    this.listening = [
      server.onDidChange(() => void this.refresh()),
      window.onDidChangeActiveTextEditor(() => this.show()),
      workspace.onDidChangeConfiguration(() => this.show()),
    ];
    this.timer = setInterval(() => void this.poll(), POLL_MS);
    this.show();
    this.item.show();
  }

  dispose(): void {
    clearInterval(this.timer);
    this.listening.forEach((one) => one.dispose());
    this.item.dispose();
  }

  /** A window that nobody looks at asks nothing. */
  private async poll(): Promise<void> {
    if (window.state.focused) {
      await this.refresh();
    }
  }

  private async refresh(): Promise<void> {
    this.show();
    this.model = modelStatusOf(await this.server.status());
    this.show();
  }

  private show(): void {
    const shown = display(this.state());
    this.item.text = shown.text;
    this.item.tooltip = shown.tooltip;
    this.item.accessibilityInformation = { label: `qcn-agent: ${shown.tooltip}`, role: "button" };
    this.item.backgroundColor = shown.isError ? new ThemeColor("statusBarItem.errorBackground") : undefined;
  }

  private state(): State {
    const now = settings();
    const language = window.activeTextEditor?.document.languageId;
    return {
      phase: this.server.phase,
      model: this.model,
      isAutocompleteOn: now.isAutocompleteOn,
      isLanguageOn: language === undefined || isOffered({ ...now, isAutocompleteOn: true }, language),
      isTrusted: workspace.isTrusted,
    };
  }
}
