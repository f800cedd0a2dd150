/** The settings as VS Code has them now. */

import { workspace, ConfigurationTarget } from "vscode";
import { AUTOCOMPLETE, SECTION, settingsOf, type Settings } from "./settings";

export function settings(): Settings {
  const configuration = workspace.getConfiguration(SECTION);
  return settingsOf((key) => configuration.get<unknown>(key));
}

/** Switch autocomplete, where it has been set before: in this workspace, else for this user. */
export async function toggleAutocomplete(): Promise<void> {
  const configuration = workspace.getConfiguration(SECTION);
  const isOfWorkspace = configuration.inspect(AUTOCOMPLETE)?.workspaceValue !== undefined;
  const target = isOfWorkspace ? ConfigurationTarget.Workspace : ConfigurationTarget.Global;
  await configuration.update(AUTOCOMPLETE, !settings().isAutocompleteOn, target);
}
