"""Completions for all editors: a `Completer` for each workspace, made for the model that is loaded.

A key never waits for a model: the first one starts the load, and until it is there nothing is offered. Who asks for a
completion waits for it.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

from qcn_agent import paths
from qcn_agent.completion.prompt import ContextBlock
from qcn_agent.completion.ring import IDLE_S, ContextRing, FindBlocks
from qcn_agent.completion.service import Completer
from qcn_agent.completion.sources import IndexSources
from qcn_agent.completion.tally import Tally
from qcn_agent.completion.values import Completion, Snapshot, Trigger
from qcn_agent.config import Config
from qcn_agent.daemon.contexts import Contexts
from qcn_agent.daemon.hosting import Host, Loaded
from qcn_agent.daemon.ignored import Ignored
from qcn_agent.errors import QcnError

logger = logging.getLogger(__name__)

_RETRY_S = 60.0  # after a load that failed
_LOAD_PATIENCE_S = 10.0  # of somebody who has asked
_INDEX_PATIENCE_S = 2.0
_FLUSH_S = 30.0


class Folder:
    """What completions of one folder share. `completer` is made for `hosted`, the model that was loaded then."""

    def __init__(self, root: Path, find: FindBlocks) -> None:
        self.root = root
        self.ring = ContextRing(find)
        self.ignored = Ignored(root)
        self.completer: Completer | None = None
        self.hosted: Loaded | None = None
        self.latest: Snapshot | None = None  # where somebody was last
        self.is_refreshing = False

    def set_model(self, hosted: Loaded, config: Config, is_busy: Callable[[], bool]) -> Completer:
        """Complete with this model from now on. Raises QcnError when it can't fill in the middle."""
        completer = Completer(
            hosted.completion,
            config.completion,
            metadata=hosted.metadata,
            project=paths.project_tag(self.root),
            repository=self.root.name,
            experts_in_ram=config.model.n_cpu_moe > 0,
            on_gpu=hosted.is_on_gpu,
            is_ignored=self.ignored,
            is_busy=is_busy,
            ring=self.ring,
        )
        self.hosted, self.completer = hosted, completer
        return completer


class Completions:
    """Used on the event loop's thread. Folders are absolute; paths of files are relative to theirs.

    `is_busy` says whether the agent works, in whatever folder.
    """

    def __init__(
        self,
        host: Host,
        contexts: Contexts,
        config: Config,
        clock: Callable[[], float] = time.monotonic,
        *,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.tally = Tally(paths.state_dir() / "completions.db")
        self._host = host
        self._contexts = contexts
        self._config = config
        self._clock = clock
        self._is_busy = is_busy
        self._folders: dict[Path, Folder] = {}
        self._projects: set[Path] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loading: asyncio.Task[None] | None = None
        self._no_load_before = float("-inf")
        self._flushed_at = clock()

    async def complete(self, client: str, root: Path, snapshot: Snapshot, trigger: Trigger) -> Completion | None:
        """What to show; None for nothing, also while there is no model. Never raises but CancelledError."""
        if not self._config.completion.enabled:
            return None
        folder = self._folder(root)
        folder.latest = snapshot
        hosted = self._host.loaded() or await self._load_for(trigger)
        if hosted is None:
            return None
        if not folder.ignored.knows(snapshot.path):
            await folder.ignored.learn(snapshot.path)
        completer = self._completer(folder, hosted)
        return await completer.complete(snapshot, trigger, client) if completer else None

    def add_projects(self, roots: Iterable[Path]) -> None:
        """Folders that somebody has opened. Others, such as that of a lone file, are not indexed."""
        self._projects.update(roots)

    def opened(self, root: Path, path: str) -> None:
        """A file was opened or saved."""
        self._spawn(self._folder(root).ignored.learn(path))

    def edited(self, root: Path, path: str, old: str, new: str, line: int) -> None:
        """A file changed at `line`: the whole text before and after."""
        folder = self._folder(root)
        if not folder.ignored(path):
            folder.ring.note_edit(path, old, new, line, self._clock())
            self._refresh_later(folder)

    def visited(self, root: Path, path: str, text: str, line: int) -> None:
        """The cursor was at `line` of a file."""
        folder = self._folder(root)
        if not folder.ignored(path):
            folder.ring.note_visit(path, text, line, self._clock())
            self._refresh_later(folder)

    def close(self, client: str, uri: str | None = None) -> None:
        """A document was closed, or an editor has gone with all of its own."""
        for completer in self._completers().values():
            completer.close(client, uri)

    def status(self) -> dict[str, Any]:
        """By folder, as JSON values."""
        folders = {str(root): completer.status() for root, completer in self._completers().items()}
        return {"enabled": self._config.completion.enabled, "folders": folders}

    async def stop(self) -> None:
        """End what goes on beside requests, and write the counts."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        await asyncio.to_thread(self.tally.flush)

    def flush_if_due(self) -> None:
        """Write the counts now and then."""
        if self._clock() - self._flushed_at >= _FLUSH_S:
            self._flushed_at = self._clock()
            self.tally.flush()

    def _completers(self) -> dict[Path, Completer]:
        return {root: folder.completer for root, folder in self._folders.items() if folder.completer}

    def _completer(self, folder: Folder, hosted: Loaded) -> Completer | None:
        """For the model as it is loaded now; None when that one can't fill in the middle."""
        if folder.completer is not None and folder.hosted is hosted:
            return folder.completer
        try:
            return folder.set_model(hosted, self._config, self._is_busy)
        except QcnError as error:
            if self._clock() >= self._no_load_before:
                logger.warning("no completions: %s", error)
                self._no_load_before = self._clock() + _RETRY_S
            return None

    def _folder(self, root: Path) -> Folder:
        if root not in self._folders:
            self._folders[root] = Folder(root, functools.partial(self._find, root))
        return self._folders[root]

    async def _find(self, root: Path, snapshot: Snapshot) -> Sequence[ContextBlock]:
        """Code of the project that may help there, from its index."""
        if root not in self._projects:
            return []
        try:
            async with self._contexts.index(root, lambda _: None, patience_s=_INDEX_PATIENCE_S) as index:
                return await IndexSources(index)(snapshot)
        except QcnError as error:  # it may be on its way
            logger.info("no context from the index of %s: %s", root, error)
            return []

    async def _load_for(self, trigger: Trigger) -> Loaded | None:
        """Begin to load the model. Who asked for a completion waits for it a while; who types does not."""
        if self._clock() >= self._no_load_before:
            self._no_load_before = self._clock() + _RETRY_S
            self._loading = self._spawn(self._load())
        if trigger is Trigger.INVOKED and self._loading is not None:
            await asyncio.wait({self._loading}, timeout=_LOAD_PATIENCE_S)
        return self._host.loaded()

    async def _load(self) -> None:
        try:
            await self._host.load("", lambda _: None)
        except QcnError as error:  # the status says it as well
            logger.warning("no completions, the model can't be loaded: %s", error)

    def _refresh_later(self, folder: Folder) -> None:
        if not folder.is_refreshing:
            folder.is_refreshing = True
            self._spawn(self._refresh(folder))

    async def _refresh(self, folder: Folder) -> None:
        """When nobody has done anything for a while, put the context together anew."""
        try:
            while not folder.ring.is_due(self._clock()):  # noqa: ASYNC110 - a pause is nothing that happens
                await asyncio.sleep(IDLE_S)
            if folder.latest is not None:
                await folder.ring.refresh(folder.latest, self._clock())
        finally:
            folder.is_refreshing = False

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
