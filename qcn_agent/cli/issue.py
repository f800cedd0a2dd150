"""The issue that a command line names. Standard library only."""

import sys
from pathlib import Path

from qcn_agent.errors import UsageError


def read_issue(text: str) -> str:
    """The issue itself, from an argument, a file (@FILE) or standard input (-). Raises UsageError, also for none."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).expanduser().read_text(encoding="utf-8")
    except (OSError, RuntimeError, ValueError) as error:  # also what is not UTF-8, and a ~user that nobody is
        hint = "ISSUE is text, @FILE with a text file in UTF-8, or - for standard input"
        raise UsageError(f"can't read the issue: {error}", hint=hint) from error
    if not text.strip():
        raise UsageError("the issue is empty", hint="say in a sentence what is wrong")
    return text
