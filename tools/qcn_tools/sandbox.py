"""The daemon's side of the jail: is there one here, and the command line that starts a program in it."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qcn_tools import jail
from qcn_tools.workspace import READ_ONLY_NAMES

_MAX_DIRECTORIES = 50_000
_NOT_SEARCHED = {"node_modules", "__pycache__", "site-packages"}


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
    argv: Sequence[str], *, write: Sequence[Path], protect: Sequence[Path], hide: Sequence[Path]
) -> tuple[str, ...]:
    """The command line that runs `argv` confined; links in the given paths are resolved here."""
    options: list[str] = []
    for option, paths in (("--write", write), ("--protect", protect), ("--hide", hide)):
        for path in paths:
            options += (option, os.path.realpath(path))
    return (sys.executable, "-I", "-S", jail.__file__, *options, "--", *argv)


def protected_paths(root: Path) -> tuple[Path, ...]:
    """What stays read-only beneath a writable `root`: every `.git`, directory or file, and our own settings.

    Dependencies (`site-packages`, `node_modules`) are not searched, nor more than 50,000 directories.
    """
    found = [root / name for name in READ_ONLY_NAMES if (root / name).exists()]
    pending, num_searched = [str(root)], 0
    while pending and num_searched < _MAX_DIRECTORIES:
        num_searched += 1
        for entry in _entries(pending.pop()):
            if entry.name == ".git":
                found.append(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False) and entry.name not in _NOT_SEARCHED:
                pending.append(entry.path)
    return tuple(sorted(found))


def _entries(directory: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []
