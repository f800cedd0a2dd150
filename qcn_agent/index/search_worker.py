"""Worker of search.py: one request on stdin, one answer on stdout. An expression that never ends dies with it.

Request: {"root", "files", "pattern", "max_matches", "max_bytes", "max_line_chars", "ripgrep"}, file names as the
Latin-1 text of their bytes. Answer: {"matches": [[path, line, text]], "is_truncated"}. It imports nothing of ours.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

_NAMES_A_CALL = 500


def compiled(pattern: str) -> "re.Pattern[str]":
    """The pattern, as plain text where it is no valid expression."""
    try:
        return re.compile(pattern, re.MULTILINE)
    except (re.error, RecursionError, OverflowError):
        return re.compile(re.escape(pattern))


def read_text(path: bytes, max_bytes: int) -> str:
    """A regular text file, never through a link; "" for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError:
        return ""
    return "" if len(data) > max_bytes or b"\0" in data[:8192] else data.decode("utf-8", "replace")


def matching_lines(expression: "re.Pattern[str]", text: str) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines on which a match starts, each once."""
    position = 0
    while match := expression.search(text, position):
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.start())
        end = len(text) if end < 0 else end
        yield text.count("\n", 0, start) + 1, text[start:end].rstrip("\r")
        position = end + 1
        if position > len(text):
            return


def scan(request: dict[str, Any], names: list[bytes]) -> Iterator[tuple[bytes, int, str]]:
    """Matches of those files, in order."""
    expression = compiled(request["pattern"])
    root = os.fsencode(request["root"])
    for name in names:
        for line, text in matching_lines(expression, read_text(root + b"/" + name, request["max_bytes"])):
            yield name, line, text


def holding(request: dict[str, Any], names: list[bytes]) -> list[bytes]:
    """With ripgrep: those of the files that may match; all of them where it can't say."""
    if not request["ripgrep"]:
        return names
    flags = ["--files-with-matches", "--null", "--no-config", "--no-messages", "--no-ignore", "--hidden", "--no-follow"]
    found: set[bytes] = set()
    for at in range(0, len(names), _NAMES_A_CALL):
        part = names[at : at + _NAMES_A_CALL]
        command = [request["ripgrep"], *flags, "--multiline", "-e", request["pattern"], "--", *part]
        done = subprocess.run(command, check=False, cwd=request["root"], stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode > 1:
            return names
        found.update(done.stdout.split(b"\0"))
    return [name for name in names if name in found]


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    names = [name.encode("latin-1") for name in request["files"]]
    limit = request["max_matches"]
    found = list(islice(scan(request, holding(request, names)), limit + 1))
    cut = request["max_line_chars"]
    matches = [[name.decode("latin-1"), line, text[:cut]] for name, line, text in found[:limit]]
    json.dump({"matches": matches, "is_truncated": len(found) > limit}, sys.stdout)


if __name__ == "__main__":
    main()
