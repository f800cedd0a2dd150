"""Tool `write_file`."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from qcn_tools.base import Observation
from qcn_tools.workspace import AtomicWriter, Workspace
from qcn_tools.write import WriteFile

Make = Callable[[Mapping[str, str]], Workspace]


async def write(workspace: Workspace, path: str, content: str) -> Observation:
    """Run the tool with the plain writer."""
    return await WriteFile(workspace, AtomicWriter(workspace.root)).run({"path": path, "content": content})


async def test_created(workspace: Workspace) -> None:
    """A new file is created with its directories and ends with a newline."""
    answer = await write(workspace, "src/new.py", "x = 1\ny = 2")
    assert answer == Observation("written", {"path": "src/new.py", "num_lines": 2, "created": True})
    assert (workspace.root / "src" / "new.py").read_bytes() == b"x = 1\ny = 2\n"


async def test_replaced_in_its_style(make: Make) -> None:
    """A file that is replaced keeps its newlines and whether it ends with one."""
    workspace = make({"a.txt": "1\r\n2\r\n", "b.txt": "1"})
    assert (await write(workspace, "a.txt", "x\ny\n")).fields["created"] is False
    assert (await write(workspace, "b.txt", "x\ny")).fields["num_lines"] == 2
    assert (workspace.root / "a.txt").read_bytes() == b"x\r\ny\r\n"
    assert (workspace.root / "b.txt").read_bytes() == b"x\ny"


async def test_syntax_gate(make: Make) -> None:
    """A Python file that compiles may not be replaced by one that doesn't; a new file may be anything."""
    workspace = make({"a.py": "x = 1\n"})
    answer = await write(workspace, "a.py", "x = (\n")
    assert (answer.kind, answer.ok, answer.fields["line"]) == ("edit_syntax_error", False, 1)
    assert (workspace.root / "a.py").read_text() == "x = 1\n"
    assert (await write(workspace, "new.py", "x = (\n")).kind == "written"


class Meddler:
    """A writer that is overtaken: someone else saves the file just before it writes."""

    def __init__(self, root: Path) -> None:
        self._writer = AtomicWriter(root)

    def write(self, path: Path, data: bytes, expected: bytes | None) -> None:
        """Theirs first."""
        path.write_bytes(b"theirs = 1\n")
        self._writer.write(path, data, expected)


@pytest.mark.parametrize("path", ["a.py", "new.py"])
async def test_changed_meanwhile(make: Make, path: str) -> None:
    """What someone else saved or created while the model wrote is not overwritten, and the model is told."""
    workspace = make({"a.py": "x = 1\n"})
    answer = await WriteFile(workspace, Meddler(workspace.root)).run({"path": path, "content": "ours = 1\n"})
    assert (answer.kind, answer.ok, answer.fields["path"]) == ("refused", False, path)
    assert "read it again" in answer.fields["reason"]
    assert (workspace.root / path).read_text() == "theirs = 1\n"


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/tmp/x",
        ".git/hooks/pre-commit",
        "sub/.git/config",
        "d",
        "binary",
        "file/x",
        "qcn-agent.toml",
        "l/x",
        ".venv/x",
    ],
)
async def test_refused(make: Make, path: str) -> None:
    """Nothing is written outside, in git's files, over directories or binaries, or through links."""
    workspace = make({"d/x": "", "binary": "\0", "file": ""})
    (workspace.root / "l").symlink_to("/tmp")
    before = sorted(workspace.root.rglob("*"))
    answer = await write(workspace, path, "x")
    assert (answer.kind, answer.ok) == ("refused", False)
    assert sorted(workspace.root.rglob("*")) == before
