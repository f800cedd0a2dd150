"""Tool `git_diff`."""

from collections.abc import Callable, Mapping

from qcn_tools.git_diff import GitDiff
from qcn_tools.process import CommandRunner
from qcn_tools.workspace import Workspace

Make = Callable[[Mapping[str, str]], Workspace]
Git = Callable[..., str]


async def test_diff(make: Make, git: Git, runner: CommandRunner) -> None:
    """Staged and unstaged changes are shown against the last commit; new files are named."""
    workspace = make({"a.py": "one\n", "b.py": "one\n"})
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    make({"a.py": "two\n", "b.py": "three\n", "c.py": "new\n"})
    git("add", "a.py")
    answer = await GitDiff(workspace, runner).run({})
    assert (answer.kind, answer.ok, answer.fields["truncated"]) == ("diff", True, False)
    assert "-one\n+two" in answer.fields["text"]
    assert "-one\n+three" in answer.fields["text"]
    assert answer.fields["untracked"] == ["c.py"]


async def test_no_commit_yet(make: Make, git: Git, runner: CommandRunner) -> None:
    """A repository without a commit shows what is not staged."""
    workspace = make({"a.py": "one\n"})
    git("init", "-q")
    git("add", ".")
    make({"a.py": "two\n"})
    assert "+two" in (await GitDiff(workspace, runner).run({})).fields["text"]


async def test_no_repository(workspace: Workspace, runner: CommandRunner) -> None:
    """Without a repository the answer says so."""
    answer = await GitDiff(workspace, runner).run({})
    assert (answer.kind, answer.ok) == ("no_git", False)
    assert "epository" in answer.fields["reason"]


async def test_hostile_filter(make: Make, git: Git, runner: CommandRunner) -> None:
    """A filter that comparing starts can change nothing, not even in the workspace."""
    workspace = make({"a.txt": "one\n", "sub/b.txt": "", ".gitattributes": "*.txt filter=evil\n"})
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    git("config", "filter.evil.clean", f"sh -c 'touch {workspace.root}/sub/ran {workspace.root}/.git/ran; cat'")
    make({"a.txt": "two\n"})
    answer = await GitDiff(workspace, runner).run({})
    assert "+two" in answer.fields["text"]
    assert not list(workspace.root.rglob("ran"))


async def test_long_diff(make: Make, git: Git, runner: CommandRunner) -> None:
    """A long difference is cut in the middle."""
    workspace = make({"a.py": ""})
    git("init", "-q")
    git("add", ".")
    make({"a.py": "line\n" * 1000})
    answer = await GitDiff(workspace, runner, limit_chars=500).run({})
    assert answer.fields["truncated"]
    assert len(answer.fields["text"]) < 600
