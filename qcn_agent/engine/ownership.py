"""Whose a file of the cache is: its name ends with the tags of the projects that came through what it holds.

    NAME.TAG.TAG…    `_` for a tag: also of whoever named no project

Without a tag it is nobody's. The names, not the contents, say it, so that a file can change hands by a rename.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from qcn_agent.engine.private_file import is_temporary

_ANYBODY = "_"
_MAX_OWNERS = 6  # more are anybody: the length of a name is limited


def owned_name(name: str, owners: Iterable[str]) -> str:
    """The name with these owners, whatever owners it says."""
    tags = sorted({owner or _ANYBODY for owner in owners})
    return ".".join((name.partition(".")[0], *(tags if len(tags) <= _MAX_OWNERS else (_ANYBODY,))))


def owners_of(name: str) -> frozenset[str]:
    """The owners that a name says."""
    return frozenset("" if tag == _ANYBODY else tag for tag in name.split(".")[1:]) or frozenset({""})


def as_said(owners: Iterable[str]) -> frozenset[str]:
    """The owners that the name of a file says when these are its owners."""
    return owners_of(owned_name("", owners))


def forget_files(folder: Path, project: str | None = None) -> int:
    """Delete what is only of `project` (None: all files) below `folder`, which no daemon uses; how many files.

    What it shares with others stays and is theirs. What a writer left behind goes in any case. Raises OSError when
    something can't be looked into or deleted.
    """
    num_forgotten = 0
    for file in _files_below(folder):
        owners = owners_of(file.name)
        if project is None or owners == {project} or is_temporary(file):
            file.unlink(missing_ok=True)
            num_forgotten += 1
        elif project in owners:
            file.rename(file.with_name(owned_name(file.name, owners - {project})))
    return num_forgotten


def _files_below(folder: Path) -> list[Path]:
    """All that are no folders; no link is followed."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=_raise) if os.path.lexists(folder) else ():
        links = [name for name in folders if Path(parent, name).is_symlink()]
        found += [Path(parent, name) for name in (*files, *links)]
    return found


def _raise(error: OSError) -> None:
    raise error
