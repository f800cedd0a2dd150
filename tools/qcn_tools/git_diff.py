"""Tool `git_diff`: what differs from the last commit."""

from collections.abc import Mapping
from typing import Any

from qcn_tools.base import Observation, ToolSpec
from qcn_tools.git import git_argv, git_env
from qcn_tools.process import CommandResult, CommandRunner
from qcn_tools.workspace import Workspace

_TIMEOUT_S = 20.0
_MAX_UNTRACKED = 100


class GitDiff:
    """Shows the difference of the tree to HEAD, staged or not, and names untracked files.

    Git runs in the jail with nothing writable, because comparing may start filters that the repository names.
    Answers `diff` {text, untracked, truncated} or `no_git` {reason}. Raises SandboxError where there is no jail.
    """

    spec = ToolSpec(
        "git_diff", "Show all that differs from the last commit, and which files are new. Look at it before you finish."
    )

    def __init__(self, workspace: Workspace, runner: CommandRunner, limit_chars: int = 10_000) -> None:
        self._workspace = workspace
        self._runner = runner
        self._limit_chars = limit_chars

    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        head = await self._git("rev-parse", "--verify", "--quiet", "HEAD")
        against = ("HEAD",) if head.exit_code == 0 else ()
        options = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--relative")
        diff = await self._git("diff", *options, *against, "--", ".")
        if diff.exit_code != 0:
            reason = diff.output.strip().splitlines()
            return Observation("no_git", {"reason": reason[0] if reason else "git failed"}, ok=False)
        untracked = await self._git("ls-files", "--others", "--exclude-standard")
        names = untracked.output.splitlines()[:_MAX_UNTRACKED]
        return Observation("diff", {"text": diff.output, "untracked": names, "truncated": diff.truncated})

    async def _git(self, *arguments: str) -> CommandResult:
        return await self._runner.run(
            git_argv(*arguments),
            cwd=self._workspace.root,
            env=git_env(),
            timeout_s=_TIMEOUT_S,
            output_chars=self._limit_chars,
        )
