"""From the path that a model wrote to the bytes of a file, as all tools do it that work on one file."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from qcn_tools.base import Observation
from qcn_tools.workspace import PathRefused, Workspace


@dataclass(frozen=True)
class Found:
    """A file: where it is, how the model calls it, and its bytes; None when it does not exist."""

    path: Path
    shown: str
    data: bytes | None


async def look_up(workspace: Workspace, path: str, *, write: bool = False) -> Found:
    """The file that a model calls `path`, with `write` one that it may change.

    Raises PathRefused, also for a directory, or OSError.
    """
    resolved = workspace.resolve(path, write=write)
    shown = workspace.relative(resolved)
    if resolved.is_dir():
        raise PathRefused(shown, "it is a directory")
    try:
        data = await asyncio.to_thread(workspace.read_bytes, resolved)
    except FileNotFoundError:
        data = None
    return Found(resolved, shown, data)


async def not_found(workspace: Workspace, path: str) -> Observation:
    """A `not_found` observation with the existing paths that look most like `path`."""
    nearest = await asyncio.to_thread(workspace.nearest, path)
    return Observation("not_found", {"path": path, "nearest": list(nearest)}, ok=False)
