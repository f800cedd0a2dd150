"""Which files have uncommitted changes, found without git looking at the files: their filters may be anybody's code."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from qcn_agent.index.git import run_git

_TIMEOUT_S = 10.0


def changes_since_commit(workspace: Path) -> Callable[[str, bytes], bool]:
    """A function of (path, contents) that says whether HEAD has other contents there, or none.

    Where there is no git, no commit or no answer in time, nothing counts as changed.
    """
    listed = run_git(workspace, "ls-tree", "-r", "-z", "HEAD", timeout_s=_TIMEOUT_S)
    if not listed:
        return lambda _path, _contents: False
    blobs = dict(_entries(listed))
    return lambda path, contents: blobs.get(os.fsencode(path)) not in _blob_ids(contents)


def _entries(listed: bytes) -> list[tuple[bytes, str]]:
    """(path, blob id) of `mode type id<TAB>path` entries."""
    parts = (entry.partition(b"\t") for entry in listed.split(b"\0") if entry)
    return [(path, meta.split()[2].decode("ascii")) for meta, _tab, path in parts]


def _blob_ids(contents: bytes) -> tuple[str, str]:
    """What git calls these contents, in repositories of either kind."""
    blob = b"blob %d\0%b" % (len(contents), contents)
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest(), hashlib.sha256(blob).hexdigest()
