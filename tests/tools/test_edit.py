"""Tool `edit_file`."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_tools.base import Observation
from qcn_tools.edit import Edit, EditFile, plan_edit
from qcn_tools.text import BOM
from qcn_tools.workspace import AtomicWriter, Workspace

Make = Callable[[Mapping[str, str]], Workspace]
SOURCE = "def add(a, b):\n    return a - b\n\n\ndef sub(a, b):\n    return a - b\n"


async def edit(workspace: Workspace, old: str, new: str, path: str = "calc.py") -> Observation:
    """Run the tool with the plain writer."""
    tool = EditFile(workspace, AtomicWriter(workspace.root))
    return await tool.run({"path": path, "old_string": old, "new_string": new})


def content(workspace: Workspace, path: str = "calc.py") -> bytes:
    """Bytes of a file."""
    return (workspace.root / path).read_bytes()


async def test_edited(make: Make) -> None:
    """A unique text is replaced; the answer shows the new lines with two on either side."""
    workspace = make({"calc.py": SOURCE})
    answer = await edit(workspace, "def add(a, b):\n    return a - b", "def add(a, b):\n    return a + b")
    assert answer == Observation(
        "edited",
        {
            "path": "calc.py",
            "first_line": 1,
            "last_line": 4,
            "snippet": "def add(a, b):\n    return a + b\n\n",
        },
    )
    assert content(workspace) == SOURCE.replace("a - b", "a + b", 1).encode()


async def test_ambiguous(make: Make) -> None:
    """A text that occurs more than once is not replaced; its lines are named."""
    workspace = make({"calc.py": SOURCE})
    answer = await edit(workspace, "    return a - b", "    return a + b")
    assert (answer.kind, answer.ok, answer.fields["lines"]) == ("edit_ambiguous", False, [2, 6])
    assert content(workspace) == SOURCE.encode()


async def test_overlapping_matches_are_ambiguous(make: Make) -> None:
    """Matches that overlap count as two."""
    answer = await edit(make({"a.txt": "aaa"}), "aa", "b", "a.txt")
    assert answer.kind == "edit_ambiguous"


async def test_not_found(make: Make) -> None:
    """A text that is not there is answered with the nearest lines and which of them differ."""
    workspace = make({"calc.py": SOURCE})
    answer = await edit(workspace, "def sub(a, b):\n    return a - c", "x")
    assert (answer.kind, answer.ok) == ("edit_not_found", False)
    assert answer.fields == {
        "path": "calc.py",
        "first_line": 5,
        "last_line": 6,
        "region": "def sub(a, b):\n    return a - b",
        "differing_lines": [6],
    }


@pytest.mark.parametrize(
    ("old", "new", "kind"), [("a - b", "a - b", "edit_noop"), ("", "x", "error"), ("zzz qqq", "x", "error")]
)
async def test_nothing_to_do(make: Make, old: str, new: str, kind: str) -> None:
    """Equal, empty and utterly unknown texts have their own answers."""
    workspace = make({"calc.py": SOURCE})
    answer = await edit(workspace, old, new)
    assert (answer.kind, answer.ok) == (kind, False)
    assert content(workspace) == SOURCE.encode()


async def test_syntax_gate(make: Make) -> None:
    """A Python file that compiles may not stop doing so; one that did not may stay broken."""
    workspace = make({"calc.py": SOURCE, "broken.py": "def f(:\n    pass\n"})
    answer = await edit(workspace, "def add(a, b):", "def add(a, b)")
    assert (answer.kind, answer.fields["line"], content(workspace)) == ("edit_syntax_error", 1, SOURCE.encode())
    assert (await edit(workspace, "pass", "return", "broken.py")).kind == "edited"
    assert (await edit(workspace, "def add(a, b):", "return 1\ndef add(a, b):")).kind == "edit_syntax_error"


async def test_read_only_file_is_refused(make: Make) -> None:
    """The model is told that it is read-only, and the file stays as it is."""
    workspace = make({"calc.py": "x = 1\n"})
    (workspace.root / "calc.py").chmod(0o444)

    answer = await edit(workspace, "x = 1", "x = 2")

    assert (answer.kind, answer.ok) == ("refused", False)
    assert "read-only" in answer.fields["reason"]
    assert (workspace.root / "calc.py").read_text() == "x = 1\n"


async def test_other_languages_have_no_gate(make: Make) -> None:
    """What is not Python is not compiled."""
    assert (await edit(make({"a.txt": "x = 1\n"}), "x = 1", "x = (", "a.txt")).kind == "edited"


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (b"a\r\nb\r\nc\r\n", "a\nb", "x\ny\nz", b"x\r\ny\r\nz\r\nc\r\n"),
        (b"a\r\nb\r\n", "a\r\nb", "x\r\ny", b"x\r\ny\r\n"),
        (b"a\nb\r\nc\n", "b\nc", "x\ny", b"a\nx\ny\n"),
        (b"a\r\nb\r\nc\n", "c", "x\ny", b"a\r\nb\r\nx\r\ny\n"),
        (BOM + b"a\nb\n", "a", "x", BOM + b"x\nb\n"),
        (b"caf\xe9 = 1\nb\n", "b", "c", b"caf\xe9 = 1\nc\n"),
        (b"a\nb", "b", "c", b"a\nc"),
        (b"a\nb\n", "b\n", "", b"a\n"),
        (b"a\rb\n", "b", "c", b"a\rc\n"),
    ],
)
async def test_bytes_are_kept(workspace: Workspace, before: bytes, old: str, new: str, after: bytes) -> None:
    """Newline style, byte order mark, encoding and final newline stay what they were."""
    (workspace.root / "a.txt").write_bytes(before)
    assert (await edit(workspace, old, new, "a.txt")).kind == "edited"
    assert content(workspace, "a.txt") == after


async def test_changed_meanwhile(make: Make) -> None:
    """A save between reading and writing, such as while the syntax is checked, is kept, and the model is told."""
    workspace = make({"calc.py": SOURCE})

    class Overtaken(AtomicWriter):
        def write(self, path: Path, data: bytes, expected: bytes | None) -> None:
            path.write_text("saved by the user\n")
            super().write(path, data, expected)

    tool = EditFile(workspace, Overtaken(workspace.root))
    answer = await tool.run({"path": "calc.py", "old_string": "def add", "new_string": "def plus"})
    reason = "it was changed by someone else just now; read it again"
    assert answer == Observation("refused", {"path": "calc.py", "reason": reason}, ok=False)
    assert content(workspace) == b"saved by the user\n"


pieces = st.sampled_from([b"a", b"b", b"\n", b"\r\n", b"\r", b"\xe9", "é".encode(), b"  ", BOM])
texts = st.text("ab\n é", max_size=12)


@given(st.lists(pieces, max_size=30).map(b"".join), texts, texts)
def test_nothing_outside_the_match_changes(data: bytes, old: str, new: str) -> None:
    """Whatever the bytes: an edit changes a single stretch, and that stretch was `old`."""
    edit = plan_edit(data, "a", old, new)
    if not isinstance(edit, Edit):
        return
    candidates = {old.encode().replace(b"\n", end) for end in (b"\n", b"\r\n")}
    changed = edit.data
    assert any(
        data[start : start + length].replace(b"\r\n", b"\n") == old.encode()
        and changed.startswith(data[:start])
        and changed.endswith(data[start + length :])
        and changed[start : len(changed) - len(data) + start + length].replace(b"\r\n", b"\n") == new.encode()
        for length in {*map(len, candidates), *range(len(old.encode()), 2 * len(old.encode()) + 1)}
        for start in range(len(data) - length + 1)
    )


@given(st.lists(pieces, max_size=30).map(b"".join), texts)
def test_edit_and_back(data: bytes, old: str) -> None:
    """An edit whose new text is unique can be taken back exactly where newlines are of one kind."""
    new = "<new>"
    edit = plan_edit(data, "a", old, new)
    mixed = b"\r\n" in data and data.replace(b"\r\n", b"").count(b"\n")
    if isinstance(edit, Edit) and not mixed and "\n" not in old:
        back = plan_edit(edit.data, "a", new, old)
        assert isinstance(back, Edit)
        assert back.data == data


@pytest.mark.parametrize(
    ("path", "kind"),
    [("no.py", "not_found"), ("d", "refused"), ("b", "refused"), ("../x", "refused"), ("l", "refused")],
)
async def test_wrong_paths(make: Make, path: str, kind: str) -> None:
    """Missing files, directories, binaries, paths outside and links that lead there are not edited."""
    workspace = make({"d/x": "", "b": "x\0"})
    (workspace.root / "l").symlink_to("/etc/passwd")
    assert (await edit(workspace, "x", "y", path)).kind == kind
