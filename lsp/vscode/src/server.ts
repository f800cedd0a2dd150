/** `qcn-agent lsp`, the one server of this window: started, watched, started again. */

import { homedir } from "node:os";
import { EventEmitter, workspace, type Disposable, type LogOutputChannel } from "vscode";
import { CloseAction, ErrorAction, LanguageClient, RevealOutputChannelOn, State as ClientState } from "vscode-languageclient/node";
import type { CloseHandlerResult, ErrorHandler } from "vscode-languageclient/node";
import { completions } from "./completions";
import { settings } from "./configuration";
import { places } from "./interpreter";
import { locate } from "./locate";
import { traceChannel, traceOf } from "./log";
import { order } from "./orders";
import { Restarts } from "./restarts";
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

  /** Start a client, until it runs or has given up: a start that fails does not always say so itself. */
  private async begin(command: string): Promise<void> {
    const restarts = new Restarts();
    const client = this.made(command, restarts);
    this.client = client;
    const settled = new Promise<void>((resolve) => {
      client.onDidChangeState((change) => {
        this.follow(client, restarts, change.newState);
        if (change.newState !== ClientState.Starting) {
          resolve();
        }
      });
    });
    try {
      await Promise.race([client.start(), settled]);
    } catch (error) {
      this.log.error(`it did not start: ${String(error)}`);
      this.enter("failed");
    }
  }

  private made(command: string, restarts: Restarts): LanguageClient {
    // In a home of its own: a folder that is open, trusted or not, is nothing to start a program in.
    const run = { command, args: ["lsp"], options: { cwd: homedir() } };
    const client: LanguageClient = new QuietClient("qcn-agent", "qcn-agent", run, {
      documentSelector: [{ scheme: "file" }],
      initializationOptions: { qcnTrusted: workspace.isTrusted },
      initializationFailedHandler: () => false,
      errorHandler: errorHandler(restarts),
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      outputChannel: this.log,
      traceOutputChannel: traceChannel(this.log),
      middleware: { ...completions, executeCommand: (name, args: unknown[]) => order(client, name, args) },
    });
    return client;
  }

  private follow(client: LanguageClient, restarts: Restarts, state: ClientState): void {
    if (client !== this.client) {
      return;
    }
    if (state === ClientState.Running) {
      restarts.ran();
      void this.applyTrace();
    }
    const isAgain = state === ClientState.Stopped && restarts.isAgain;
    this.enter(isAgain ? "starting" : (PHASES[state] ?? "failed"));
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

/** What happens is told by the status bar and by `trouble.ts`: the client's own boxes would say it a second time. */
class QuietClient extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

/** A client that stops without having been told to has given up. */
const PHASES: Partial<Record<ClientState, Phase>> = {
  [ClientState.Starting]: "starting",
  [ClientState.Running]: "running",
  [ClientState.Stopped]: "failed",
};

function errorHandler(restarts: Restarts): ErrorHandler {
  return {
    error: () => ({ action: ErrorAction.Continue, handled: true }),
    closed: (): CloseHandlerResult => {
      const action = restarts.ended(Date.now()) ? CloseAction.Restart : CloseAction.DoNotRestart;
      return { action, handled: true };
    },
  };
}
