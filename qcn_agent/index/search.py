"""Lines that match a regular expression: by ripgrep where there is one, else by a scan in a worker process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcn_agent.index.limits import MAX_BYTES

MAX_LINE_CHARS = 200
_WORKER = Path(__file__).with_name("search_worker.py")


@dataclass(frozen=True)
class Match:
    """A line (from 1) on which a match starts; the text is cut after MAX_LINE_CHARS."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class SearchResult:
    """The first matches by path and line, whether there are more, and whether the time ran out."""

    matches: tuple[Match, ...]
    is_truncated: bool
    is_timeout: bool


def search_files(
    workspace: Path, names: Sequence[str], pattern: str, *, max_matches: int = 100, timeout_s: float = 10.0
) -> SearchResult:
    """Search files of a workspace; binary ones and those over MAX_BYTES are passed over.

    `pattern` is a regular expression, or plain text where it is not a valid one.
    """
    request = {
        "root": os.fspath(workspace),
        "files": [os.fsencode(name).decode("latin-1") for name in sorted(names)],
        "pattern": pattern,
        "max_matches": max_matches,
        "max_bytes": MAX_BYTES,
        "max_line_chars": MAX_LINE_CHARS,
        "ripgrep": shutil.which("rg", path=_safe_path(workspace)),
    }
    command = [sys.executable, "-P", "-I", os.fspath(_WORKER)]
    try:
        done = subprocess.run(
            command,
            check=False,
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return SearchResult((), is_truncated=False, is_timeout=True)
    answer: dict[str, Any] = {"matches": [], "is_truncated": False}
    if done.returncode == 0:
        answer = json.loads(done.stdout)
    matches = (Match(os.fsdecode(path.encode("latin-1")), line, text) for path, line, text in answer["matches"])
    return SearchResult(tuple(matches), bool(answer["is_truncated"]), is_timeout=False)


def _safe_path(workspace: Path) -> str:
    """PATH without what is relative or lies in the workspace."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    root = os.fspath(workspace)
    return os.pathsep.join(entry for entry in entries if Path(entry).is_absolute() and not entry.startswith(root))
