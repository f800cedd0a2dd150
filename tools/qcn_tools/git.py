"""How this program calls git: nothing that a repository's configuration names gets to run."""

import os
from collections.abc import Mapping
from pathlib import Path

from qcn_tools.environment import search_paths

_SWITCHED_OFF = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=",
    "core.pager=cat",
    "core.editor=true",
    "core.sshCommand=false",
    "diff.external=",
    "credential.helper=",
    "protocol.allow=never",
)


def git_argv(*arguments: str) -> tuple[str, ...]:
    """`git` with hooks, file monitors, pagers, external diffs and transports switched off, then `arguments`.

    Filters (`filter.*.clean`) can't be switched off by a flag: run whatever compares file contents in the jail.
    """
    flags = [part for setting in _SWITCHED_OFF for part in ("-c", setting)]
    return ("git", "--no-pager", *flags, *arguments)


def git_env(base: Mapping[str, str] | None = None, *, outside: Path | None = None) -> dict[str, str]:
    """Environment for `git_argv`: PATH and HOME of `base` (default: this process), no prompts, no lock on the index.

    Only absolute entries of PATH are kept, and none in the directory `outside`: a repository may hold a `git`.
    """
    source = os.environ if base is None else base
    path = search_paths(source, outside=outside).get("PATH") or os.defpath
    home = {"HOME": source["HOME"]} if "HOME" in source else {}
    return home | {
        "PATH": path,
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C",
    }
