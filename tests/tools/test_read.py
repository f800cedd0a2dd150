"""Tool `read_file`."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from qcn_tools.read import ReadFile
from qcn_tools.workspace import Workspace

Make = Callable[[Mapping[str, str]], Workspace]
TEN = "".join(f"line {number}\n" for number in range(1, 11))


async def read(workspace: Workspace, limit: int = 10_000, **arguments: Any) -> dict[str, Any]:
    """Fields of a successful read."""
    answer = await ReadFile(workspace, limit).run({"path": "a.txt", **arguments})
    assert answer.kind == "file", answer
    assert answer.ok
    return dict(answer.fields)


async def test_whole_file(make: Make) -> None:
    """Without lines given, the whole file is shown."""
    fields = await read(make({"a.txt": TEN}))
    assert fields == {
        "path": "a.txt",
        "text": TEN.removesuffix("\n"),
        "first_line": 1,
        "last_line": 10,
        "num_lines": 10,
        "truncated": False,
        "next_line": None,
        "encoding_note": "",
    }


@pytest.mark.parametrize(
    ("arguments", "first", "last", "next_line"),
    [
        ({"first_line": 3, "last_line": 4}, 3, 4, 5),
        ({"first_line": 9}, 9, 10, None),
        ({"last_line": 2}, 1, 2, 3),
        ({"first_line": 8, "last_line": 99}, 8, 10, None),
        ({"first_line": -5, "last_line": 1}, 1, 1, 2),
    ],
)
async def test_window(make: Make, arguments: dict[str, int], first: int, last: int, next_line: int | None) -> None:
    """Lines are counted from 1, both ends are included, and what lies beyond the file is cut off."""
    fields = await read(make({"a.txt": TEN}), **arguments)
    assert (fields["first_line"], fields["last_line"], fields["next_line"]) == (first, last, next_line)
    assert fields["text"].splitlines() == TEN.splitlines()[first - 1 : last]
    assert fields["truncated"] is False


async def test_limit(make: Make) -> None:
    """A long file is cut at the end of a line, and the answer says where to read on."""
    fields = await read(make({"a.txt": TEN}), limit=20)
    assert (fields["text"], fields["truncated"], fields["next_line"]) == ("line 1\nline 2", True, 3)


async def test_one_endless_line(make: Make) -> None:
    """A line longer than the limit is cut, and something is always shown."""
    fields = await read(make({"a.txt": "x" * 100 + "\nb\n"}), limit=20)
    assert (fields["text"], fields["truncated"], fields["next_line"]) == ("x" * 20 + " …", True, 2)


async def test_empty_file(make: Make) -> None:
    """An empty file has no lines."""
    fields = await read(make({"a.txt": ""}))
    assert (fields["text"], fields["first_line"], fields["last_line"], fields["num_lines"]) == ("", 1, 0, 0)


async def test_other_encoding(workspace: Workspace) -> None:
    """A file that is not UTF-8 is shown as far as it goes, which is said."""
    (workspace.root / "a.txt").write_bytes(b"caf\xe9\r\n")
    fields = await read(workspace)
    assert fields["text"] == "caf\ufffd"
    assert "not UTF-8" in fields["encoding_note"]


async def test_missing_file(make: Make) -> None:
    """A missing file is answered with what looks like it."""
    answer = await ReadFile(make({"src/parser.py": ""})).run({"path": "parser.py"})
    assert (answer.kind, answer.ok) == ("not_found", False)
    assert answer.fields == {"path": "parser.py", "nearest": ["src/parser.py"]}


@pytest.mark.parametrize(
    ("path", "reason"),
    [("d", "directory"), ("/etc/passwd", "outside"), ("binary", "binary"), ("a/b", "not a directory")],
)
async def test_refusals(make: Make, path: str, reason: str) -> None:
    """What can't be read is refused with the reason."""
    answer = await ReadFile(make({"d/x": "", "binary": "\0", "a": ""})).run({"path": path})
    assert (answer.kind, answer.ok, answer.fields["path"]) == ("refused", False, path)
    assert reason in answer.fields["reason"]


async def test_lines_beyond_the_end(make: Make) -> None:
    """Asking for lines that don't exist is answered with how many there are."""
    answer = await ReadFile(make({"a.txt": TEN})).run({"path": "a.txt", "first_line": 20})
    assert answer.kind == "refused"
    assert "10 lines" in answer.fields["reason"]
