"""From a path that a model wrote to bytes."""

from collections.abc import Callable, Mapping

import pytest

from qcn_tools.lookup import Found, look_up, not_found
from qcn_tools.workspace import PathRefused, Workspace

Make = Callable[[Mapping[str, str]], Workspace]


async def test_found(make: Make) -> None:
    """A file has its bytes, one that does not exist has none, and both have the name that the model knows."""
    workspace = make({"src/a.py": "x"})
    (workspace.root / "alias").symlink_to("src")
    file = workspace.root / "src" / "a.py"
    assert await look_up(workspace, "./alias/a.py") == Found(file, "src/a.py", b"x")
    assert await look_up(workspace, "src/no.py") == Found(file.with_name("no.py"), "src/no.py", None)
    assert (await look_up(workspace, "no/no.py")).data is None


@pytest.mark.parametrize(
    ("path", "write", "reason"),
    [("src", False, "directory"), ("../x", False, r"`\.\.`"), ("qcn-agent.toml", True, "configures")],
)
async def test_refused(make: Make, path: str, write: bool, reason: str) -> None:
    """Directories, and whatever the workspace refuses."""
    with pytest.raises(PathRefused, match=reason):
        await look_up(make({"src/a.py": ""}), path, write=write)


async def test_not_found(make: Make) -> None:
    """The answer names what there is instead."""
    answer = await not_found(make({"src/parser.py": ""}), "parser.py")
    assert (answer.kind, answer.ok, answer.fields["nearest"]) == ("not_found", False, ["src/parser.py"])
