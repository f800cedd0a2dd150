"""The tests and their configuration as they were at the start: what a run is judged with."""

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from qcn_tools.report import TestReport

TEST_FILES = ("test_*.py", "*_test.py", "conftest.py", "tests.py")
TEST_FOLDERS = frozenset({"tests", "test", "testing"})
CONFIG_FILES = frozenset({"pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml"})
RUNNER_MODULES = frozenset({"pytest", "_pytest", "pluggy", "iniconfig", "sitecustomize", "usercustomize"})
NOT_SEARCHED = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", "site-packages"}
)
MAX_KEPT_BYTES = 64 << 20
MAX_CONFIG_BYTES = 1 << 20


def is_protected(path: str) -> bool:
    """Whether the workspace-relative `path` is a test, lies in a test folder, or configures or replaces the runner."""
    pure = PurePosixPath(path)
    if pure.name in CONFIG_FILES or any(fnmatch.fnmatch(pure.name, pattern) for pattern in TEST_FILES):
        return True
    if PurePosixPath(pure.parts[0]).stem in RUNNER_MODULES:  # `python -m pytest` looks in the root first
        return True
    return any(part in TEST_FOLDERS for part in pure.parts[:-1])


def named_by_tests(root: Path, argv: Iterable[str], baseline: TestReport | None) -> frozenset[str]:
    """Further files that decide the verdict, relative to `root`.

    Files that the baseline's test ids name (a doctest's is the code itself and is not meant), that the test command
    names, and plugins that it or the configuration loads.
    """
    words = [word for part in argv for word in re.split(r"[\s=;&|]+", part)]
    ids = (baseline.passed_ids | baseline.failed_ids) if baseline else frozenset()
    names = {name.partition("::")[0] for name in ids if "." not in name.partition("::")[2].partition("[")[0]}
    names |= set(words)
    text = " ".join([*argv, *(_text(root / name) for name in CONFIG_FILES)])
    names |= {f"{module.replace('.', '/')}.py" for module in re.findall(r"-p[\s=]*([A-Za-z_][\w.]*)", text)}
    inside = {os.path.relpath(root / name, root) for name in names if name}
    return frozenset(name for name in inside if not name.startswith("..") and (root / name).is_file())


@dataclass(frozen=True)
class Protected:
    """A picture of the protected files: path → SHA-256, and the bytes as far as MAX_KEPT_BYTES reach.

    `named` are protected because the tests name them, whatever their own names are.
    """

    hashes: dict[str, str]
    contents: dict[str, bytes]
    named: frozenset[str] = frozenset()

    @classmethod
    def take(cls, root: Path, named: frozenset[str] = frozenset()) -> "Protected":
        """Picture the protected files of `root`, ignored by git or not. Unreadable files are left out."""
        hashes: dict[str, str] = {}
        contents: dict[str, bytes] = {}
        kept = 0
        for name in _walk(root):
            if name not in named and not is_protected(name):
                continue
            data = _read(root / name)
            if data is None:
                continue
            hashes[name] = hashlib.sha256(data).hexdigest()
            if kept + len(data) <= MAX_KEPT_BYTES:
                contents[name] = data
                kept += len(data)
        return cls(hashes, contents, named)

    def including(self, root: Path, named: frozenset[str]) -> "Protected":
        """This picture with the files `named`, as they are now, added to it."""
        now = Protected.take(root, self.named | named)
        return Protected({**now.hashes, **self.hashes}, {**now.contents, **self.contents}, now.named)

    def covers(self, name: str) -> bool:
        """Whether the file `name` is protected, be it there or not."""
        return name in self.named or is_protected(name)

    def changed(self, root: Path) -> list[str]:
        """Protected files that now differ, are gone, or are new."""
        now = Protected.take(root, self.named).hashes
        return sorted(name for name in self.hashes.keys() | now.keys() if self.hashes.get(name) != now.get(name))


def _walk(root: Path) -> Iterator[str]:
    """All files, whatever .gitignore says: a patch that writes one must not hide what it adds."""
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in NOT_SEARCHED)
        for name in sorted(files):
            yield (Path(folder) / name).relative_to(root).as_posix()


def _text(path: Path) -> str:
    data = _read(path)
    return data.decode("utf-8", "replace") if data is not None and len(data) < MAX_CONFIG_BYTES else ""


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None
