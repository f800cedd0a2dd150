"""How git is called."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from qcn_tools.git import git_argv, git_env

Git = Callable[..., str]


def test_env_is_small() -> None:
    """Git sees PATH, HOME and our own switches, and nothing that points it at another repository."""
    env = git_env({"PATH": "/bin", "HOME": "/h", "GIT_DIR": "/evil", "GIT_SSH_COMMAND": "evil"})
    assert (env["PATH"], env["HOME"], env["GIT_TERMINAL_PROMPT"]) == ("/bin", "/h", "0")
    assert not {"GIT_DIR", "GIT_SSH_COMMAND"} & env.keys()


def test_path_keeps_no_repository(root: Path) -> None:
    """Relative entries of PATH and those in the repository are left out; with none left there is a default."""
    assert git_env({"PATH": f":.:{root}/bin:/bin"}, outside=root)["PATH"] == "/bin"
    assert git_env({"PATH": f"{root}/bin"}, outside=root)["PATH"] == git_env({})["PATH"] == os.defpath


def test_named_programs_do_not_run(root: Path, git: Git) -> None:
    """Programs that a repository's configuration names for hooks, pagers and diffs are not started."""
    evil = root / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {root}/ran\n")
    evil.chmod(0o755)
    git("init", "-q")
    git("add", "evil.sh")
    git("commit", "-qm", "first")
    for key in ("core.pager", "diff.external", "core.fsmonitor", "core.sshCommand"):
        git("config", key, str(evil))
    evil.write_text(evil.read_text() + "# changed\n")
    done = subprocess.run(git_argv("diff", "--no-ext-diff"), cwd=root, env=git_env(), capture_output=True, text=True)
    assert "+# changed" in done.stdout
    assert not (root / "ran").exists()
