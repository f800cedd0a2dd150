"""The index of each workspace that was asked about, and the packs made from it. All work is done in threads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from qcn_agent import paths
from qcn_agent.context.pack import Pack
from qcn_agent.context.packer import make_pack
from qcn_agent.context.tokenizer import Tokenizer
from qcn_agent.engine.generator import Vocabulary
from qcn_agent.errors import DaemonError, IndexingError
from qcn_agent.index.index import Index

MAX_OPEN = 8  # indexes; each has a process of its own
Say = Callable[[str], None]
T = TypeVar("T")


@dataclass
class _Open:
    """An index and whose turn it is with it."""

    index: Index
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_users: int = 0


class Contexts:
    """One index a workspace, opened when it is first needed and kept up to date by a process of its own.

    Used on the event loop's thread, which never waits for an index.
    """

    def __init__(self) -> None:
        self._open: dict[Path, _Open] = {}  # the one used last comes last
        self._closed = False

    @property
    def workspaces(self) -> list[Path]:
        """Those with an open index, the one used last at the end."""
        return list(self._open)

    @contextlib.asynccontextmanager
    async def index(self, root: Path, say: Say, *, patience_s: float | None = None) -> AsyncIterator[Index]:
        """The index of the workspace `root`, in line with its files; one user at a time.

        Raises IndexingError when it can't be brought up to date, or not within `patience_s` (it is worked on then).
        """
        used = await self._entered(root)
        try:
            async with used.turn:
                progress = _progress(say, asyncio.get_running_loop())
                await asyncio.to_thread(_refresh, used.index, progress, patience_s)
                yield used.index
        finally:
            used.num_users -= 1

    async def pack(
        self,
        root: Path,
        vocabulary: Vocabulary,
        issue: str,
        budget: int,
        trusted: Sequence[str],
        say: Say,
        *,
        patience_s: float | None = None,
    ) -> Pack:
        """A pack of at most `budget` tokens; see `make_pack`. The caller keeps the vocabulary's model loaded."""

        def make(index: Index) -> Pack:
            tokenizer = Tokenizer.open(vocabulary, paths.token_cache_dir(), paths.project_tag(root))
            with contextlib.closing(tokenizer):
                return make_pack(index, tokenizer, issue, budget, [Path(folder) for folder in trusted])

        async with self.index(root, say, patience_s=patience_s) as index:
            say("choosing what to read")
            return await _uninterrupted(lambda: make(index))

    async def close(self) -> None:
        """End all; whoever waits for an index gets IndexingError."""
        self._closed = True
        while self._open:
            _root, used = self._open.popitem()
            await asyncio.to_thread(used.index.close)

    async def _entered(self, root: Path) -> _Open:
        if self._closed:
            raise DaemonError("the daemon is ending", hint="try again")
        used = self._open.pop(root, None) or _Open(Index.open(root))
        self._open[root] = used
        used.num_users += 1
        idle = [other for other, held in self._open.items() if not held.num_users]
        for other in idle[: max(0, len(self._open) - MAX_OPEN)]:
            await asyncio.to_thread(self._open.pop(other).index.close)
        return used


def _refresh(index: Index, progress: Callable[[int, int], None], patience_s: float | None) -> None:
    index.refresh(progress, patience_s)
    status = index.status()
    if not status.is_writer and not status.num_files:
        raise IndexingError("another process is building the index of this project", hint="ask again when it is done")


def _progress(say: Say, loop: asyncio.AbstractEventLoop) -> Callable[[int, int], None]:
    """Called on a thread of the index, by which time the loop may be gone."""

    def tell(done: int, total: int) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(say, f"indexing: {done:,} of {total:,} files")

    return tell


async def _uninterrupted(work: Callable[[], T]) -> T:
    """Do `work` in a thread, and wait for its end even when cancelled: the model that it uses may be closed then."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        task.exception()
        raise
