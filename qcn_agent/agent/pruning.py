"""How long journals are kept. The rule stands in `qcn-agent undo --help` and in the README, too."""

import shutil
import time
from pathlib import Path

from qcn_agent.agent.journal import Journal, has_changes, journals_dir, locked, workspace_of
from qcn_agent.errors import DamagedJournalError, LiveRunError

KEPT_RUNS = 20  # of each workspace
KEPT_S = 30 * 86_400  # of a workspace that is gone


def forget_old() -> list[str]:
    """Remove the journals that nobody needs any more; returns their runs.

    The last KEPT_RUNS of each workspace stay; of a workspace whose folder is gone, those that are younger than KEPT_S
    seconds. Of the others, those stay whose run is going on, and those of which a file still holds what they wrote,
    so that `undo` could take it back.
    """
    by_workspace: dict[Path | None, list[Path]] = {}
    for folder in sorted(journals_dir().iterdir(), reverse=True):
        by_workspace.setdefault(workspace_of(folder), []).append(folder)
    old: list[Path] = []
    for workspace, folders in by_workspace.items():
        is_gone = workspace is not None and not workspace.is_dir()
        old += [folder for folder in folders if _is_aged(folder)] if is_gone else folders[KEPT_RUNS:]
    return [folder.name for folder in old if _forgotten(folder)]


def _is_aged(folder: Path) -> bool:
    return time.time() - folder.stat().st_mtime > KEPT_S


def _forgotten(folder: Path) -> bool:
    try:
        with locked(folder):
            if _is_needed(folder):
                return False
            shutil.rmtree(folder, ignore_errors=True)
            return True
    except (LiveRunError, OSError):
        return False


def _is_needed(folder: Path) -> bool:
    """Whether `undo` could still put a file back. What is damaged can't."""
    workspace = workspace_of(folder)
    if workspace is None or not workspace.is_dir() or not has_changes(folder):
        return False
    try:
        return Journal(folder, workspace).is_in_tree()
    except DamagedJournalError:
        return False
