"""Worker: search files with a regular expression, which may be one that never ends.

Request: {"root", "files", "pattern", "max_matches", "max_file_bytes"}. Answer: {"matches", "num_matches", "note"}.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

_MAX_LINE_CHARS = 200


def compiled(pattern: str) -> tuple[re.Pattern[str], str]:
    """The pattern, as text if it is no valid expression, and a note that says so."""
    try:
        return re.compile(pattern, re.MULTILINE), ""
    except (re.error, RecursionError, OverflowError) as error:
        return re.compile(re.escape(pattern)), f"not a valid regular expression ({error}); searched for as plain text"


def matching_lines(expression: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines on which a match starts; each line once."""
    position, number, counted = 0, 1, 0
    while match := expression.search(text, position):
        number += text.count("\n", counted, match.start())
        counted = match.start()
        end = text.find("\n", match.start())
        end = len(text) if end < 0 else end
        yield number, text[text.rfind("\n", 0, match.start()) + 1 : end]
        position = end + 1
        if position > len(text):
            return


def read_text(path: str, max_bytes: int) -> str:
    """Contents of a regular text file, never through a link; empty when it is anything else or too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError:
        return ""
    if len(data) > max_bytes or b"\0" in data[:8192]:
        return ""
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def search(request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request; all matches are counted, the first `max_matches` are kept."""
    expression, note = compiled(request["pattern"])
    matches: list[dict[str, Any]] = []
    num_matches = 0
    for name in request["files"]:
        text = read_text(request["root"] + "/" + name, request["max_file_bytes"])
        for line, content in matching_lines(expression, text):
            num_matches += 1
            if len(matches) < request["max_matches"]:
                matches.append({"path": name, "line": line, "text": content[:_MAX_LINE_CHARS]})
    return {"matches": matches, "num_matches": num_matches, "note": note}


if __name__ == "__main__":
    json.dump(search(json.load(sys.stdin)), sys.stdout)
