"""Which files have uncommitted changes, found without git looking at the files: their filters may be anybody's code."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from qcn_agent.index.git import run_git

IsChanged = Callable[[str, bytes], bool]

_TIMEOUT_S = 10.0


def changes_since_commit(workspace: Path) -> IsChanged:
    """A function of (path, contents) that says whether HEAD has other contents there, or none.

    What lies in a submodule is compared with the submodule's own HEAD. Where there is no git, no commit or no answer in
    time, nothing counts as changed.
    """
    listed = run_git(workspace, "ls-tree", "-r", "-z", "HEAD", timeout_s=_TIMEOUT_S)
    if not listed:
        return lambda _path, _contents: False
    entries = dict(_entries(listed))
    submodules = frozenset(path for path, (kind, _id) in entries.items() if kind == b"commit")
    inside: dict[bytes, IsChanged] = {}

    def is_changed(path: str, contents: bytes) -> bool:
        name = os.fsencode(path)
        for folder in _folders_of(name) if submodules else ():
            if folder in submodules:
                inside[folder] = inside.get(folder) or changes_since_commit(workspace / os.fsdecode(folder))
                return inside[folder](os.fsdecode(name[len(folder) + 1 :]), contents)
        return entries.get(name, (b"", ""))[1] not in _blob_ids(contents)

    return is_changed


def _entries(listed: bytes) -> list[tuple[bytes, tuple[bytes, str]]]:
    """(path, (type, id)) of `mode type id<TAB>path` entries."""
    parts = (entry.partition(b"\t") for entry in listed.split(b"\0") if entry)
    return [(path, (meta.split()[1], meta.split()[2].decode("ascii"))) for meta, _tab, path in parts]


def _folders_of(name: bytes) -> list[bytes]:
    """The folders above a path, the outermost first."""
    parts = name.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]


def _blob_ids(contents: bytes) -> tuple[str, str]:
    """What git calls these contents, in repositories of either kind."""
    blob = b"blob %d\0%b" % (len(contents), contents)
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest(), hashlib.sha256(blob).hexdigest()
