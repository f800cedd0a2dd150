"""The daemon's side of the jail: is there one here, and the command line that starts a program in it."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qcn_tools import jail
from qcn_tools.environment import ENVIRONMENT_MARKS, search_paths
from qcn_tools.workspace import READ_ONLY_NAMES

_MAX_DIRECTORIES = 50_000
_NOT_SEARCHED = {"node_modules", "__pycache__", "site-packages"}
LAUNCHER_CWD = Path("/")  # and not the workspace: whatever is looked up there would be the repository's


@dataclass(frozen=True)
class JailSupport:
    """Whether commands can be confined on this machine; `reason` says why not, or what is missing."""

    available: bool
    landlock_abi: int
    seccomp: bool
    reason: str = ""


def probe() -> JailSupport:
    """Look at the running kernel. Cheap; starts no process."""
    if sys.platform == "darwin":
        return JailSupport(False, 0, False, "the macOS sandbox (Seatbelt) is not supported yet")
    if sys.platform != "linux":
        return JailSupport(False, 0, False, f"no sandbox for {sys.platform}; on Windows use WSL2")
    abi, seccomp = jail.landlock_abi(), jail.seccomp_supported()
    if abi < 1:
        return JailSupport(False, abi, seccomp, "this kernel has no Landlock, or it is not among the active LSMs")
    if not seccomp:
        return JailSupport(False, abi, False, f"no seccomp filter for {os.uname().machine}")
    return JailSupport(True, abi, True, "" if abi >= 6 else "kernel older than 6.12: signals to other processes pass")


def jailed_argv(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    write: Sequence[Path],
    protect: Sequence[Path],
    hide: Sequence[Path],
) -> tuple[str, ...]:
    """The command line that runs `argv` confined, in `cwd` with exactly `env`; links in the given paths are resolved.

    To be started in LAUNCHER_CWD with `launcher_env()`, so that nothing of a repository takes part in starting it.
    """
    options = ["--cwd", str(cwd)]
    for option, paths in (("--write", write), ("--protect", protect), ("--hide", hide)):
        for path in paths:
            options += (option, os.path.realpath(path))
    for path in protect:
        if path.is_symlink():  # not only what it points at: it must not be replaced either
            options += ("--protect", str(path.parent.resolve() / path.name))
    for name, value in env.items():
        options += ("--env", f"{name}={value}")
    return (sys.executable, "-I", "-S", jail.__file__, *options, "--", *argv)


def launcher_env() -> dict[str, str]:
    """Environment for the launcher: nothing but where this very process found its libraries, in case it has to."""
    return {name: value for name, value in search_paths(os.environ).items() if value and name != "PATH"}


def protected_paths(root: Path, env: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """What stays read-only beneath a writable `root`.

    Every `.git`, directory or file; our own settings; environments: those called `.venv` or `venv`, and the ones that
    `env` names as active. Dependencies (`site-packages`, `node_modules`) are not searched, nor more than 50,000
    directories.
    """
    found = [root / name for name in READ_ONLY_NAMES if (root / name).exists()]
    found += _active_environments(root, env or {})
    pending, num_searched = [str(root)], 0
    while pending and num_searched < _MAX_DIRECTORIES:
        num_searched += 1
        for entry in _entries(pending.pop()):
            if entry.name == ".git" or _is_environment(entry):
                found.append(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False) and entry.name not in _NOT_SEARCHED:
                pending.append(entry.path)
    return tuple(sorted(set(found)))


def _active_environments(root: Path, env: Mapping[str, str]) -> Iterator[Path]:
    real_root = root.resolve()
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = Path(env.get(name) or "/").resolve()
        if real_root in prefix.parents and prefix.is_dir():
            yield prefix


def _is_environment(entry: "os.DirEntry[str]") -> bool:
    if entry.name != "venv":
        return entry.name == ".venv"
    return any(Path(entry.path, mark).exists() for mark in ENVIRONMENT_MARKS)


def _entries(directory: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []
