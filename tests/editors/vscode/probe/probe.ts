/**
 * An extension for the tests: it writes down each text that the editor has, exactly, and reports the problem that a
 * line with "return max(low, value)" is.
 */

import { appendFileSync } from "node:fs";
import { Diagnostic, languages, Range, workspace, type ExtensionContext, type TextDocument } from "vscode";

const WRONG = "return max(low, value)";
const RECORD = process.env["QCN_PROBE"] ?? "";

export function activate(context: ExtensionContext): void {
  const problems = languages.createDiagnosticCollection("probe");
  const look = (document: TextDocument): void => {
    if (document.uri.scheme === "file") {
      appendFileSync(RECORD, `${JSON.stringify({ kind: "text", uri: document.uri.toString(), text: document.getText() })}\n`);
      problems.set(document.uri, problemsOf(document));
    }
  };
  workspace.textDocuments.forEach(look);
  context.subscriptions.push(
    problems,
    workspace.onDidOpenTextDocument(look),
    workspace.onDidChangeTextDocument((event) => look(event.document)),
  );
}

function problemsOf(document: TextDocument): Diagnostic[] {
  const at = document.getText().indexOf(WRONG);
  if (at < 0) {
    return [];
  }
  const range = new Range(document.positionAt(at), document.positionAt(at + WRONG.length));
  const problem = new Diagnostic(range, "clamp ignores high");
  problem.source = "lint";
  return [problem];
}
