"""How labels are made: changelogs read, versions paired, wheels compared."""

import zipfile
from pathlib import Path

import pytest

from tests.bench.localise_labels import (
    CHANGELOGS,
    NOT_CODE,
    bare_code,
    changed_files,
    entries_of,
    is_for_tuning,
    predecessor,
)

RST = """
Version 1.0.2
-------------

Released 2024-01-02

-   Fix ``Pool.close`` when the queue
    is empty. :issue:`12`
-   Second entry. (`#7 <https://example.org/7>`__)

    - an inner point

Version 1.0.1
-------------

- Older.
"""
MARKDOWN = (
    "# Log\n\n## 2.1.0 (June)\n\n#### Fixed\n\n* Parse `a` [#9](https://example.org/9).\n\n## Version 2.0\n\n* First.\n"
)


def test_entries_of_restructured_text() -> None:
    """By version; continued lines are joined, references and inner points left out."""
    assert entries_of(RST) == {
        "1.0.2": ["Fix ``Pool.close`` when the queue is empty.", "Second entry."],
        "1.0.1": ["Older."],
    }


def test_entries_of_markdown() -> None:
    """Headings of parts are no versions."""
    assert entries_of(MARKDOWN) == {"2.1.0": ["Parse `a`."], "2.0": ["First."]}


def test_a_file_of_one_version_needs_no_heading() -> None:
    """Where each release has a file of its own."""
    assert entries_of("Notes\n=====\n\n* Fixed a crash.\n", "4.2.1") == {"4.2.1": ["Fixed a crash."]}


@pytest.mark.parametrize(
    ("version", "before"),
    [("1.2.3", "1.2.2"), ("1.2.1", "1.2"), ("1.2", "1.1"), ("2.0.1", None), ("1.2.9", None)],
)
def test_predecessor(version: str, before: str | None) -> None:
    """The one that differs in the last number only; a first bug fix may follow x.y."""
    assert predecessor(version, ["1.1", "1.2", "1.2.2", "1.2.3", "1.2.9", "2.0.1"]) == before


def test_bare_code_ignores_what_is_no_code() -> None:
    """Comments, docstrings, version numbers, layout."""
    one = '"""Doc."""\n__version__ = "1"\n\ndef f(a):\n    """Doc."""\n    return a  # why\n'
    other = '__version__ = "2"\ndef f(a):\n\n    return (a)\n'

    assert bare_code(one) == bare_code(other)
    assert bare_code(one) != bare_code(other.replace("(a)\n", "(b)\n"))
    assert bare_code("def (") == "def ("


def _wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_changed_files_are_the_modules_that_differ(tmp_path: Path) -> None:
    """Not tests, not new ones, not versions, not comments."""
    old = {"p/a.py": "x = 1", "p/b.py": "y = 1", "p/tests/test_a.py": "z = 1", "p/version.py": "v = 1", "p/c.txt": "1"}
    new = {"p/a.py": "x = 2", "p/b.py": "y = 1  # one", "p/tests/test_a.py": "z = 2", "p/version.py": "v = 2"}
    new |= {"p/c.txt": "2", "p/new.py": "n = 1"}

    assert changed_files(_wheel(tmp_path / "a.whl", old), _wheel(tmp_path / "b.whl", new)) == ["p/a.py"]


@pytest.mark.parametrize("text", ["Fix a typo in the docs.", "Update type hints of f.", "Upgrade certifi to 2026."])
def test_entries_about_other_things_than_code_are_known(text: str) -> None:
    """They would have no file to be found."""
    assert NOT_CODE.search(text)
    assert not NOT_CODE.search("Fix a crash of the loader when a template is missing")


def test_projects_kept_for_measuring_elsewhere_are_not_used() -> None:
    """Neither half holds one of them, and both halves hold some."""
    assert not {"sphinx", "pylint", "pytest", "requests", "flask", "seaborn", "xarray"} & CHANGELOGS.keys()
    halves = [sum(is_for_tuning(project) == half for project in CHANGELOGS) for half in (True, False)]
    assert min(halves) >= 6
