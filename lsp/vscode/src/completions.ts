/** What this extension adds to inline completions: switches, and a wait. All else is the server's. */

import type { Middleware } from "vscode-languageclient/node";
import { InlineCompletionTriggerKind } from "vscode";
import { settings } from "./configuration";
import { pause } from "./pause";
import { isOffered } from "./settings";

/** Asks the server only where completions are on; asked for by hand they are always on, and never wait. */
export const completions: Pick<Middleware, "provideInlineCompletionItems"> = {
  async provideInlineCompletionItems(document, position, context, token, next) {
    const now = settings();
    if (context.triggerKind === InlineCompletionTriggerKind.Invoke) {
      return next(document, position, context, token);
    }
    if (!isOffered(now, document.languageId)) {
      return [];
    }
    if (now.debounceMs > 0 && !(await pause(now.debounceMs, token))) {
      return [];
    }
    return next(document, position, context, token);
  },
};
