"""The files of a workspace as lines of text: a line for each folder, those near the root first."""

from collections import defaultdict
from collections.abc import Iterable

from qcn_prompts.framing import shown_name

MAX_ENTRIES = 60  # of one folder


def tree_lines(paths: Iterable[str]) -> list[str]:
    """`folder/: a.py b.py sub/`, by depth and then by name; folders with more than MAX_ENTRIES say how many more."""
    folders: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        parts = path.split("/")
        for depth in range(len(parts)):
            entry = parts[depth] + ("/" if depth < len(parts) - 1 else "")
            folders["/".join(parts[:depth])].add(entry)
    order = sorted(folders, key=lambda folder: (folder.count("/") + bool(folder), folder))
    return [f"{_label(folder)}: {_listed(folders[folder])}\n" for folder in order]


def _label(folder: str) -> str:
    return shown_name(f"{folder}/") if folder else "./"


def _listed(entries: set[str]) -> str:
    names = sorted(entries)
    shown = " ".join(shown_name(name) for name in names[:MAX_ENTRIES])
    return shown if len(names) <= MAX_ENTRIES else f"{shown} … {len(names) - MAX_ENTRIES} more"
