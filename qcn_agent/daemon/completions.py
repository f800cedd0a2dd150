"""Completions for all editors: a `Completer` for each workspace, made for the model that is loaded.

A key never waits for a model: the first one starts the load, and until it is there nothing is offered.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

from qcn_agent import paths
from qcn_agent.completion.prompt import ContextBlock
from qcn_agent.completion.ring import IDLE_S, ContextRing
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
_INDEX_PATIENCE_S = 2.0
_FLUSH_S = 30.0


class Workspace:
    """What completions of one folder share while one model is loaded."""

    def __init__(self, root: Path, hosted: Loaded, config: Config, ring: ContextRing, ignored: Ignored) -> None:
        self.hosted = hosted
        self.completer = Completer(
            hosted.completion,
            config.completion,
            metadata=hosted.metadata,
            project=paths.project_tag(root),
            repository=root.name,
            experts_in_ram=config.model.n_cpu_moe > 0,
            on_gpu=hosted.is_on_gpu,
            is_ignored=ignored,
            ring=ring,
        )


class Completions:
    """Used on the event loop's thread. Folders are absolute; paths of files are relative to theirs."""

    def __init__(
        self, host: Host, contexts: Contexts, config: Config, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tally = Tally(paths.state_dir() / "completions.db")
        self._host = host
        self._contexts = contexts
        self._config = config
        self._clock = clock
        self._workspaces: dict[Path, Workspace] = {}
        self._rings: dict[Path, ContextRing] = {}
        self._ignored: dict[Path, Ignored] = {}
        self._latest: dict[Path, Snapshot] = {}  # where somebody was last
        self._projects: set[Path] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refreshing: set[Path] = set()
        self._no_load_before = float("-inf")
        self._flushed_at = clock()

    async def complete(self, client: str, root: Path, snapshot: Snapshot, trigger: Trigger) -> Completion | None:
        """What to show; None for nothing, also while there is no model. Never raises but CancelledError."""
        if not self._config.completion.enabled:
            return None
        self._latest[root] = snapshot
        hosted = self._host.loaded()
        if hosted is None:
            self._begin_load()
            return None
        ignored = self._ignored_of(root)
        if not ignored.knows(snapshot.path):
            await ignored.learn(snapshot.path)
        workspace = self._workspace(root, hosted)
        return await workspace.completer.complete(snapshot, trigger, client) if workspace else None

    def add_projects(self, roots: Iterable[Path]) -> None:
        """Folders that somebody has opened. Others, such as that of a lone file, are not indexed."""
        self._projects.update(roots)

    def opened(self, root: Path, path: str) -> None:
        """A file was opened or saved."""
        self._spawn(self._ignored_of(root).learn(path))

    def edited(self, root: Path, path: str, old: str, new: str, line: int) -> None:
        """A file changed at `line`: the whole text before and after."""
        if not self._ignored_of(root)(path):
            self._ring(root).note_edit(path, old, new, line, self._clock())
            self._refresh_later(root)

    def visited(self, root: Path, path: str, text: str, line: int) -> None:
        """The cursor was at `line` of a file."""
        if not self._ignored_of(root)(path):
            self._ring(root).note_visit(path, text, line, self._clock())
            self._refresh_later(root)

    def close(self, client: str, uri: str | None = None) -> None:
        """A document was closed, or an editor has gone with all of its own."""
        for workspace in self._workspaces.values():
            workspace.completer.close(client, uri)

    def status(self) -> dict[str, Any]:
        """By folder, as JSON values."""
        folders = {str(root): workspace.completer.status() for root, workspace in self._workspaces.items()}
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

    def _workspace(self, root: Path, hosted: Loaded) -> Workspace | None:
        """For the model as it is loaded now; None when that one can't fill in the middle."""
        workspace = self._workspaces.get(root)
        if workspace is None or workspace.hosted is not hosted:
            try:
                workspace = Workspace(root, hosted, self._config, self._ring(root), self._ignored_of(root))
            except QcnError as error:
                if self._clock() >= self._no_load_before:
                    logger.warning("no completions: %s", error)
                    self._no_load_before = self._clock() + _RETRY_S
                return None
            self._workspaces[root] = workspace
        return workspace

    def _ring(self, root: Path) -> ContextRing:
        if root not in self._rings:

            async def find(snapshot: Snapshot) -> Sequence[ContextBlock]:
                if root not in self._projects:
                    return []
                try:
                    async with self._contexts.index(root, lambda _: None, patience_s=_INDEX_PATIENCE_S) as index:
                        return await IndexSources(index)(snapshot)
                except QcnError as error:  # it may be on its way
                    logger.info("no context from the index of %s: %s", root, error)
                    return []

            self._rings[root] = ContextRing(find)
        return self._rings[root]

    def _ignored_of(self, root: Path) -> Ignored:
        return self._ignored.setdefault(root, Ignored(root))

    def _begin_load(self) -> None:
        if self._clock() >= self._no_load_before:
            self._no_load_before = self._clock() + _RETRY_S
            self._spawn(self._load())

    async def _load(self) -> None:
        try:
            await self._host.load("", lambda _: None)
        except QcnError as error:  # the status says it as well
            logger.warning("no completions, the model can't be loaded: %s", error)

    def _refresh_later(self, root: Path) -> None:
        if root not in self._refreshing:
            self._refreshing.add(root)
            self._spawn(self._refresh(root))

    async def _refresh(self, root: Path) -> None:
        """When nobody has done anything for a while, put the context together anew."""
        ring = self._ring(root)
        try:
            while not ring.is_due(self._clock()):  # noqa: ASYNC110 - a pause is nothing that happens
                await asyncio.sleep(IDLE_S)
            snapshot = self._latest.get(root)
            if snapshot is not None:
                await ring.refresh(snapshot, self._clock())
        finally:
            self._refreshing.discard(root)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
