"""Git, asked in a way that nothing a repository's configuration names gets to run."""

import os
import subprocess
from pathlib import Path

_SWITCHED_OFF = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=",
    "core.untrackedCache=false",
    "core.pager=cat",
    "core.sshCommand=false",
    "diff.external=",
    "log.showSignature=false",
    "gpg.program=false",
    "credential.helper=",
    "protocol.allow=never",
)


def run_git(folder: Path, *arguments: str, timeout_s: float, also_fine: tuple[int, ...] = ()) -> bytes | None:
    """What `git` in `folder` writes to stdout; None where there is no git, it fails, or takes over `timeout_s`.

    `also_fine` are exit codes beside 0 that are no failure.
    """
    flags = [part for setting in _SWITCHED_OFF for part in ("-c", setting)]
    command = ["git", "--no-pager", *flags, *arguments]
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode in (0, *also_fine) else None


def _environment(folder: Path) -> dict[str, str]:
    """PATH without relative entries and without the repository's own folders; no prompts, no locks, no fetches."""
    inside = str(folder)
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    safe = [entry for entry in entries if Path(entry).is_absolute() and not entry.startswith(inside)]
    kept = {name: os.environ[name] for name in ("HOME", "SystemRoot") if name in os.environ}
    return kept | {
        "PATH": os.pathsep.join(safe) or os.defpath,
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_CEILING_DIRECTORIES": "",
        "LC_ALL": "C",
    }
