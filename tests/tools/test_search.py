"""Tool `search`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from qcn_tools import search_worker
from qcn_tools.search import Search
from qcn_tools.workspace import Workspace

Make = Callable[[Mapping[str, str]], Workspace]
FILES = {"a.py": "def f():\n    return 1\n", "b/c.py": "x = f()\r\ny = f() + f()\r\n", "d.txt": "nothing\n"}


async def search(workspace: Workspace, pattern: str, **arguments: str) -> dict[str, Any]:
    """Fields of a successful search."""
    answer = await Search(workspace).run({"pattern": pattern, **arguments})
    assert answer.kind == "matches", answer
    return dict(answer.fields)


async def test_matches(make: Make) -> None:
    """Each matching line is given once, with path, number and text."""
    fields = await search(make(FILES), r"\bf\(")
    assert fields["matches"] == [
        {"path": "a.py", "line": 1, "text": "def f():"},
        {"path": "b/c.py", "line": 1, "text": "x = f()"},
        {"path": "b/c.py", "line": 2, "text": "y = f() + f()"},
    ]
    assert (fields["num_matches"], fields["truncated"], fields["note"]) == (3, False, "")


@pytest.mark.parametrize(("path", "num"), [("b", 2), ("a.py", 1), (".", 3), ("", 3), ("b/c", 0)])
async def test_path(make: Make, path: str, num: int) -> None:
    """A search can be limited to a file or a directory."""
    assert (await search(make(FILES), r"f\(", path=path))["num_matches"] == num


async def test_invalid_expression(make: Make) -> None:
    """What is no regular expression is searched for as it stands, and a note says so."""
    fields = await search(make(FILES), "f(")
    assert fields["num_matches"] == 3
    assert "plain text" in fields["note"]


@pytest.mark.parametrize(("pattern", "lines"), [("^y", [2]), (r"\)$", [1, 2]), ("", None), (r"f\(\)\ny", [1])])
async def test_anchors(make: Make, pattern: str, lines: list[int] | None) -> None:
    """Anchors mean lines, a pattern may span lines, and an empty one is an error."""
    answer = await Search(make(FILES)).run({"pattern": pattern, "path": "b"})
    found = [match["line"] for match in answer.fields["matches"]] if answer.ok else None
    assert found == lines


async def test_many_matches(make: Make) -> None:
    """At most 100 matches are given, all are counted, and long lines are cut."""
    fields = await search(make({"a": "x" * 1000 + "\n", "b": "x\n" * 150}), "x")
    assert (len(fields["matches"]), fields["num_matches"], fields["truncated"]) == (100, 151, True)
    assert len(fields["matches"][0]["text"]) == 200


async def test_endless_expression(make: Make) -> None:
    """An expression that never ends is stopped, and the loop was free meanwhile."""
    workspace = make({"a": "a" * 40 + "b\n"})
    answer = await Search(workspace, timeout_s=0.5).run({"pattern": "(a+)+$"})
    assert (answer.kind, answer.ok) == ("error", False)
    assert "simpler" in answer.fields["message"]


async def test_what_is_not_searched(workspace: Workspace, outside: Path) -> None:
    """Binaries are passed over, links are not followed, paths outside are refused."""
    (workspace.root / "binary").write_bytes(b"secret\0")
    (workspace.root / "link").symlink_to(outside)
    assert (await search(workspace, "secret"))["num_matches"] == 0
    assert (await Search(workspace).run({"pattern": "x", "path": ".."})).kind == "refused"


def test_worker_reads_no_links_and_nothing_large(tmp_path: Path) -> None:
    """The worker itself follows no links and reads nothing over the limit."""
    (tmp_path / "a").write_text("x" * 11)
    (tmp_path / "b").symlink_to("a")
    assert search_worker.read_text(str(tmp_path / "a"), 11) == "x" * 11
    assert search_worker.read_text(str(tmp_path / "a"), 10) == ""
    assert search_worker.read_text(str(tmp_path / "b"), 11) == ""
