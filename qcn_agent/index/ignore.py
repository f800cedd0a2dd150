"""Ignore rules: `.qcnignore` everywhere, `.gitignore` where git itself is not asked."""

import os
from collections.abc import Sequence
from pathlib import Path

import pathspec

QCNIGNORE = ".qcnignore"
_MAX_RULE_BYTES = 1 << 20
NEVER = frozenset({".git", ".hg", ".svn", ".bzr", "CVS"})
RARELY = frozenset(
    {
        "node_modules",
        "__pycache__",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".eggs",
    }
)


class IgnoreRules:
    """The rules of one file, in git's syntax, for paths relative to the folder it lies in."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._spec = pathspec.GitIgnoreSpec.from_lines(lines)

    @classmethod
    def read(cls, path: Path) -> "IgnoreRules | None":
        """The rules in `path`; None where there is no such regular file."""
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(descriptor, "rb") as file:
                text = file.read(_MAX_RULE_BYTES).decode("utf-8", "replace")
        except OSError:
            return None
        return cls(text.splitlines())

    def match(self, path: str) -> bool | None:
        """Whether a path (a folder ends with a slash) is ignored; None where no rule speaks of it."""
        return self._spec.check_file(path).include
