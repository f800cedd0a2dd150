/** `qcn-agent lsp`, the one server of this window: started, watched, started again. */

import { homedir } from "node:os";
import { EventEmitter, workspace, type Disposable, type LogOutputChannel } from "vscode";
import { LanguageClient, RevealOutputChannelOn, State as ClientState } from "vscode-languageclient/node";
import { completions } from "./completions";
import { settings } from "./configuration";
import { places } from "./interpreter";
import { locate } from "./locate";
import { traceChannel, traceOf } from "./log";
import { order } from "./orders";
import type { Phase } from "./state";

export class Server implements Disposable {
  private readonly changed = new EventEmitter<void>();
  readonly onDidChange = this.changed.event;
  private client: LanguageClient | undefined;
  private queue: Promise<void> = Promise.resolve();
  private current: Phase = "stopped";

  constructor(private readonly log: LogOutputChannel) {}

  get phase(): Phase {
    return this.current;
  }

  /** Stop what runs, and start what the settings now say. Calls wait for each other. */
  restart(): Promise<void> {
    this.queue = this.queue.then(() => this.replace());
    return this.queue;
  }

  /** Stop what runs; for good when the window goes. */
  stop(): Promise<void> {
    this.queue = this.queue.then(() => this.end());
    return this.queue;
  }

  /** The answer of the daemon, or undefined when there is none. */
  async status(): Promise<unknown> {
    if (this.current !== "running") {
      return undefined;
    }
    try {
      return await this.client?.sendRequest("qcn/status", {});
    } catch {
      return undefined;
    }
  }

  /** Trace what the settings now say. */
  async applyTrace(): Promise<void> {
    await this.client?.setTrace(traceOf(settings().trace));
  }

  dispose(): void {
    void this.stop();
    this.changed.dispose();
  }

  private async replace(): Promise<void> {
    await this.end();
    this.enter("starting");
    const where = await places();
    const command = await locate(where);
    if (command === undefined) {
      this.log.error(where.setting ? `nothing to run at ${where.setting}` : "no qcn-agent found");
      this.enter("missing");
      return;
    }
    this.log.info(`starting ${command} lsp`);
    await this.begin(command);
  }

  private async begin(command: string): Promise<void> {
    const client = this.made(command);
    this.client = client;
    client.onDidChangeState((change) => this.follow(client, change.newState));
    try {
      await client.start();
      await this.applyTrace();
    } catch (error) {
      this.log.error(`it did not start: ${String(error)}`);
      this.enter("failed");
    }
  }

  private made(command: string): LanguageClient {
    // In a home of its own: a folder that is open, trusted or not, is nothing to start a program in.
    const run = { command, args: ["lsp"], options: { cwd: homedir() } };
    const client: LanguageClient = new LanguageClient("qcn-agent", "qcn-agent", run, {
      documentSelector: [{ scheme: "file" }],
      initializationOptions: { qcnTrusted: workspace.isTrusted },
      initializationFailedHandler: () => false,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      outputChannel: this.log,
      traceOutputChannel: traceChannel(this.log),
      middleware: { ...completions, executeCommand: (name, args: unknown[]) => order(client, name, args) },
    });
    return client;
  }

  private follow(client: LanguageClient, state: ClientState): void {
    if (client === this.client) {
      this.enter(PHASES[state] ?? "failed");
    }
  }

  private async end(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    try {
      await client?.dispose();
    } catch (error) {
      this.log.warn(`it did not stop in order: ${String(error)}`);
    }
    this.enter("stopped");
  }

  private enter(phase: Phase): void {
    this.current = phase;
    this.changed.fire();
  }
}

/** A client that stops without having been told to has given up. */
const PHASES: Partial<Record<ClientState, Phase>> = {
  [ClientState.Starting]: "starting",
  [ClientState.Running]: "running",
  [ClientState.Stopped]: "failed",
};
