/** A VS Code server of its own, with the built extension installed as a user would install it. */

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import { Record } from "./record";
import { until } from "./until";

export const ROOT = path.resolve(__dirname, "../../../..");
export const PYTHON = process.env["QCN_PYTHON"] ?? path.join(ROOT, ".venv/bin/python");
const SERVER = path.join(ROOT, "tests/editors/vscode/node_modules/code-server/lib/vscode/out/server-main.js");
const PACKAGES = ["", "lsp", "tools", "prompts"].map((name) => path.join(ROOT, name)).join(path.delimiter);

export interface Code {
  /** A folder for this one's files; gone after `stop`. */
  readonly place: string;
  /** The folder that is opened. */
  readonly folder: string;
  readonly url: string;
  /** What the scripted language server notes. */
  readonly served: Record;
  /** What the editor's documents hold. */
  readonly held: Record;
  readonly env: NodeJS.ProcessEnv;
  stop(): Promise<void>;
}

export interface Options {
  /** The files of the folder. */
  readonly files: { readonly [name: string]: string };
  /** [text before the cursor, what is offered there]. */
  readonly script?: readonly (readonly [string, string])[];
  /** The Python module behind the command `qcn-agent`; undefined: there is no such command. */
  readonly module?: string | undefined;
  readonly settings?: { readonly [name: string]: unknown };
  /** Variables for the command. */
  readonly env?: NodeJS.ProcessEnv;
}

/** Start one. */
export async function startCode(options: Options): Promise<Code> {
  const place = mkdtempSync(path.join(tmpdir(), "qcn-code-"));
  const [folder, extensions, data] = ["ein Ordner, größer 😀", "extensions", "data"].map((name) => path.join(place, name)) as [string, string, string];
  write(folder, options.files);
  write(path.join(data, "Machine"), { "settings.json": JSON.stringify(settingsOf(place, options)) });
  writeFileSync(path.join(place, "script.json"), JSON.stringify({ answers: options.script ?? [] }));
  if (options.module !== undefined) {
    writeFileSync(path.join(place, "qcn-agent"), `#!/bin/sh\nexec '${PYTHON}' -m ${options.module} "$@"\n`, { mode: 0o755 });
  }
  const env = { ...environment(place), ...options.env };
  await install(extensions, data, env);
  const port = await freePort();
  const server = spawn(process.execPath, [SERVER, ...places(extensions, data), "--host", "127.0.0.1", "--port", String(port), "--without-connection-token", "--telemetry-level", "off"], { env, stdio: "ignore", detached: true });
  await until("VS Code's server", () => answers(port), 60_000);
  const file = path.join(folder, Object.keys(options.files)[0] ?? "");
  const payload = JSON.stringify([["openFile", `vscode-remote://127.0.0.1:${port}${encodeURI(file)}`]]);
  const url = `http://127.0.0.1:${port}/?folder=${encodeURIComponent(folder)}&payload=${encodeURIComponent(payload)}`;
  const stop = (): Promise<void> => end(place, server, env);
  return { place, folder, url, served: new Record(env["QCN_RECORD"]!), held: new Record(env["QCN_PROBE"]!), env, stop };
}

/** Run Python with our packages, in a folder that is not ours. */
export function python(code: Code, args: readonly string[]): ChildProcess {
  return spawn(PYTHON, args, { env: code.env, cwd: code.place, stdio: "ignore" });
}

function settingsOf(place: string, options: Options): { [name: string]: unknown } {
  const quiet = { "workbench.startupEditor": "none", "editor.inlineSuggest.minShowDelay": 0, "editor.quickSuggestions": false };
  const typing = { "editor.autoIndent": "none", "editor.autoClosingBrackets": "never", "files.autoSave": "off", "editor.wordBasedSuggestions": "off" };
  return { ...quiet, ...typing, "qcn.path": path.join(place, "qcn-agent"), ...options.settings };
}

/** The user's, less what would let one test see another's daemon. */
function environment(place: string): NodeJS.ProcessEnv {
  return {
    ...process.env,
    NODE_TEST_CONTEXT: undefined,
    PATH: `${path.dirname(PYTHON)}${path.delimiter}${process.env["PATH"] ?? ""}`,
    PYTHONPATH: PACKAGES,
    QCN_AGENT_HOME: path.join(place, "home"),
    QCN_SCRIPT: path.join(place, "script.json"),
    QCN_RECORD: path.join(place, "served.jsonl"),
    QCN_PROBE: path.join(place, "held.jsonl"),
  };
}

async function install(extensions: string, data: string, env: NodeJS.ProcessEnv): Promise<void> {
  const dist = path.join(ROOT, "dist");
  const vsix = readdirSync(dist).find((name) => name.endsWith(".vsix"));
  if (vsix === undefined) {
    throw new Error("no .vsix in dist/: make vsix");
  }
  await promisify(execFile)(process.execPath, [SERVER, ...places(extensions, data), "--install-extension", path.join(dist, vsix)], { env });
  cpSync(path.join(__dirname, "probe"), path.join(extensions, "qcn-tests.probe-0.0.1"), { recursive: true });
  rmSync(path.join(extensions, "extensions.json"), { force: true });  // it lists what was installed; the probe was copied
}

function places(extensions: string, data: string): string[] {
  return ["--accept-server-license-terms", "--server-data-dir", data, "--user-data-dir", data, "--extensions-dir", extensions];
}

function write(folder: string, files: { readonly [name: string]: string }): void {
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answers(port: number): Promise<true | undefined> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/version`)).ok || undefined;
  } catch {
    return undefined;
  }
}

async function end(place: string, server: ChildProcess, env: NodeJS.ProcessEnv): Promise<void> {
  if (server.pid !== undefined && server.exitCode === null) {
    const gone = new Promise((resolve) => server.once("exit", resolve));
    process.kill(-server.pid, "SIGTERM");
    await gone;
  }
  if (existsSync(path.join(place, "home"))) {
    await promisify(execFile)(PYTHON, ["-m", "qcn_agent", "stop"], { env }).catch(() => undefined);
  }
  rmSync(place, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
}
