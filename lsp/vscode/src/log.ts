/** The log, and what of the protocol goes into it. */

import type { LogOutputChannel } from "vscode";
import { Trace } from "vscode-languageclient/node";
import type { TraceLevel } from "./settings";

const TRACES: Record<TraceLevel, Trace> = { off: Trace.Off, messages: Trace.Messages, verbose: Trace.Verbose };

export function traceOf(level: TraceLevel): Trace {
  return TRACES[level];
}

/**
 * The same log, but what is traced is written at once. The setting `qcn.trace` decides what is traced;
 * without this the log's own level, which is kept elsewhere, would have to be changed as well.
 */
export function traceChannel(log: LogOutputChannel): LogOutputChannel {
  const trace = (message: string, ...args: unknown[]): void => log.info(message, ...args);
  return Object.create(log, { trace: { value: trace } }) as LogOutputChannel;
}
