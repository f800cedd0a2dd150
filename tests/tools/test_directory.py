"""Tool `list_directory`."""

import os
from collections.abc import Callable, Mapping

from qcn_tools.directory import ListDirectory
from qcn_tools.workspace import Workspace

Make = Callable[[Mapping[str, str]], Workspace]


async def test_entries(make: Make) -> None:
    """Names are sorted, directories end in a slash, git's own directory is not shown."""
    workspace = make({"b.py": "", "a/x": "", ".git/config": "", ".gitignore": "", "__pycache__/x": ""})
    (workspace.root / "link").symlink_to("a")
    (workspace.root / os.fsdecode(b"\xe9")).touch()
    answer = await ListDirectory(workspace).run({})
    assert answer.kind == "directory"
    assert answer.fields["entries"] == [".gitignore", "\\xe9", "a/", "b.py", "link"]
    assert (answer.fields["path"], answer.fields["truncated"]) == (".", False)


async def test_many_entries(make: Make) -> None:
    """At most 200 names are given, and how many there are."""
    answer = await ListDirectory(make({f"d/{number:03}": "" for number in range(201)})).run({"path": "d"})
    assert (len(answer.fields["entries"]), answer.fields["num_entries"]) == (200, 201)
    assert answer.fields["truncated"]


async def test_what_is_no_directory(make: Make) -> None:
    """Files and paths outside are refused, missing directories are not found."""
    tool = ListDirectory(make({"a.py": ""}))
    kinds = [(await tool.run({"path": path})).kind for path in ("a.py", "..", "/", "nowhere")]
    assert kinds == ["refused", "refused", "refused", "not_found"]
