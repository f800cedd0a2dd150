"""Which folder is the project, seen from where the user is. Standard library only."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.errors import UsageError

MARKS = ("pyproject.toml", "setup.py", "setup.cfg", "pytest.ini", "tox.ini")


@dataclass(frozen=True)
class Project:
    """The folder to work in, absolute and without links. `why` says why it is not the current one, else it is empty."""

    root: Path
    why: str = ""


def given_project(workspace: str | None) -> Project:
    """The project that `--workspace` names, exactly; without it the one that the current folder is in.

    Raises UsageError when there is no such folder.
    """
    if workspace is None:
        return find_project(_here())
    root = named_folder(workspace)
    if root.is_dir():
        return Project(root)
    what = "is a file, not a folder" if root.exists() else "does not exist"
    raise UsageError(f"--workspace: {root} {what}", hint="name the project's folder, or leave --workspace out")


def named_folder(workspace: str) -> Path:
    """What `--workspace` names, absolute and without links, whether it exists or not. Raises UsageError."""
    if not workspace.strip():
        raise UsageError("--workspace is empty", hint="name the project's folder, or leave --workspace out")
    try:
        return Path(workspace).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown ~user, a null byte
        raise UsageError(f"--workspace {workspace}: {error}", hint="name the project's folder") from error


def find_project(here: Path) -> Project:
    """The nearest folder at or above `here` with one of MARKS in it, else the root of the git repository, else `here`.

    Nothing above the repository's root is looked at; nor are, from below, the home folder, the file system's root and
    folders in which others can make files: what lies there is not part of a project.
    """
    here = here.resolve()
    for folder in _searched(here):
        marks = [mark for mark in MARKS if (folder / mark).is_file()]
        if marks:
            return _found(folder, here, f"it holds {marks[0]}")
        if (folder / ".git").exists():
            return _found(folder, here, "it is the root of the git repository")
    return Project(here)


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        hint = "go to the project's folder, or name it with --workspace"
        raise UsageError("the current folder is gone", hint=hint) from error


def _searched(here: Path) -> Iterator[Path]:
    yield here
    home = _home()
    for folder in here.parents:
        if folder in (home, Path(folder.anchor)) or folder.stat().st_mode & stat.S_IWOTH:
            return
        yield folder


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except (RuntimeError, OSError):
        return None


def _found(folder: Path, here: Path, why: str) -> Project:
    return Project(folder, "" if folder == here else f"the project is {folder}: {why}; --workspace . takes this folder")
