"""Which file tests which, by their names."""

import posixpath
import re
from functools import lru_cache

_MARKED = re.compile(
    r"^(?:test_+(?P<a>.+)|(?P<b>.+?)_+(?:unit_?)?tests?|(?P<c>.+?)(?:Tests?|TestCase|IT|Spec)|(?P<d>.+?)_spec)$"
)
_TEST_FOLDERS = frozenset({"test", "tests", "testing", "__tests__", "spec", "specs", "t", "it"})
_TEST_SUFFIXES = (".test", ".spec", "_test", "-test")


@lru_cache(maxsize=1 << 16)
def is_test(path: str) -> bool:
    """Whether a path looks like a test's."""
    return stem_under_test(path) is not None or bool(_TEST_FOLDERS & set(path.lower().split("/")[:-1]))


def stem_under_test(path: str) -> str | None:
    """The name, without extension, of what a test file tests; None where its name does not say that it is one."""
    name = posixpath.basename(path)
    stem = posixpath.splitext(name)[0]
    for suffix in _TEST_SUFFIXES:
        if stem.endswith(suffix) and len(stem) > len(suffix):
            return stem.removesuffix(suffix)
    found = _MARKED.match(stem)
    return next((group for group in found.groups() if group), None) if found else None


def stems_of_tests(path: str) -> tuple[str, ...]:
    """What a test of this file may be called, up to the first dot of its name."""
    stem = posixpath.basename(path).split(".")[0]
    marked = (f"test_{stem}", f"{stem}_test", f"{stem}_tests", f"{stem}_spec", f"{stem}-test", stem)
    return (*marked, *(f"{stem}{mark}" for mark in ("Test", "Tests", "TestCase", "IT", "Spec")))


def nearness(source: str, test: str) -> float:
    """0 .. 1: how much the folders of a source and a test have in common, test folders left out."""
    mine, theirs = _bare_folders(source), _bare_folders(test)
    shared = len(mine & theirs)
    return (1 + shared) / (1 + max(len(mine), len(theirs)))


def _bare_folders(path: str) -> set[str]:
    return {part for part in path.split("/")[:-1] if part.lower() not in _TEST_FOLDERS | {"src", "lib", "main"}}
