"""The tests and their configuration as they were at the start: what a run is judged with."""

import fnmatch
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

TEST_FILES = ("test_*.py", "*_test.py", "conftest.py", "tests.py")
TEST_FOLDERS = frozenset({"tests", "test", "testing"})
CONFIG_FILES = frozenset({"pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "sitecustomize.py"})
MAX_KEPT_BYTES = 64 << 20


def is_protected(path: str) -> bool:
    """Whether the workspace-relative `path` is a test, lies in a test folder, or configures the tests."""
    pure = PurePosixPath(path)
    if pure.name in CONFIG_FILES or any(fnmatch.fnmatch(pure.name, pattern) for pattern in TEST_FILES):
        return True
    return any(part in TEST_FOLDERS for part in pure.parts[:-1])


@dataclass(frozen=True)
class Protected:
    """A picture of the protected files: path → SHA-256, and the bytes as far as MAX_KEPT_BYTES reach."""

    hashes: dict[str, str]
    contents: dict[str, bytes]

    @classmethod
    def take(cls, root: Path, files: Iterable[str]) -> "Protected":
        """Picture the protected ones of `files` (relative to `root`). Unreadable files are left out."""
        hashes: dict[str, str] = {}
        contents: dict[str, bytes] = {}
        kept = 0
        for name in filter(is_protected, files):
            data = _read(root / name)
            if data is None:
                continue
            hashes[name] = hashlib.sha256(data).hexdigest()
            if kept + len(data) <= MAX_KEPT_BYTES:
                contents[name] = data
                kept += len(data)
        return cls(hashes, contents)

    def changed(self, root: Path, files: Iterable[str]) -> list[str]:
        """Protected files that now differ, are gone, or are new."""
        now = Protected.take(root, files).hashes
        return sorted(name for name in self.hashes.keys() | now.keys() if self.hashes.get(name) != now.get(name))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None
