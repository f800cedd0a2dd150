"""What every connection shares: the one model, the runs that use it, and their lifetime."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from qcn_agent import __version__, paths
from qcn_agent.agent.briefing import Briefing
from qcn_agent.agent.events import Emit, RunEvent
from qcn_agent.agent.fix import FixRequest, FixRun
from qcn_agent.agent.outcome import Outcome
from qcn_agent.config import Config, FixConfig
from qcn_agent.context.pack import Pack
from qcn_agent.daemon.completions import Completions
from qcn_agent.daemon.contexts import Contexts
from qcn_agent.daemon.hosting import Host, Loaded, ModelHost, Say
from qcn_agent.daemon.orders import ContextOrder, FixOrder
from qcn_agent.errors import DaemonError, UsageError
from qcn_tools.environment import find_test_command
from qcn_tools.process import CommandRunner
from qcn_tools.sandbox import probe

logger = logging.getLogger(__name__)
T = TypeVar("T")
_INDEX_PATIENCE_S = 60.0  # then a run starts without context


def resident_bytes(*others: int) -> int:
    """Memory that this process and `others` (process ids) hold now (Linux), else the most that this one ever held."""
    try:
        statms = [Path(f"/proc/{pid}/statm").read_text(encoding="ascii") for pid in ("self", *others)]
        return sum(int(statm.split()[1]) for statm in statms) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _trace(config: Config) -> Path | None:
    return Path(config.daemon.trace) if config.daemon.trace else None


class Services:
    """Owned by the composition root; every connection gets the same one. Used on the event loop's thread only."""

    def __init__(
        self, config: Config, *, host: Host | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config = config
        isolation, trace = config.engine.isolation, _trace(config)
        self.host: Host = host or ModelHost(
            config.model, config.scheduler, completion=config.completion, isolation=isolation, trace=trace
        )
        self.contexts = Contexts()
        self.completions = Completions(self.host, self.contexts, config, is_busy=lambda: bool(self._workspaces))
        self.stopping = asyncio.Event()
        self._clock = clock
        self._started = clock()
        self._idle_since = clock()
        self._num_clients = 0
        self._workspaces: dict[Path, str] = {}
        self._runs: set[asyncio.Task[Any]] = set()
        self._cancelled: set[asyncio.Task[Any]] = set()

    @contextlib.contextmanager
    def client(self) -> Iterator[None]:
        """Count a connection while it lasts."""
        self._num_clients += 1
        try:
            yield
        finally:
            self._num_clients -= 1
            self._idle_since = self._clock()

    async def fix(self, order: FixOrder, emit: Emit) -> Outcome:
        """Run `fix`. Raises QcnError; cancelling leaves the tree as found and frees the model at once."""
        if self.stopping.is_set():
            raise DaemonError("the daemon is ending", hint="try again")
        root = Path(order.workspace).resolve()
        with self._reserved(root):
            return await self._owned(self._fix(root, order, emit))

    async def _fix(self, root: Path, order: FixOrder, emit: Emit) -> Outcome:
        config = FixConfig(**order.fix)
        runner = CommandRunner(unsandboxed=order.unsandboxed, hidden=(paths.state_dir(),))
        if not order.unsandboxed:
            await runner.succeeds(("true",), root, {})  # no jail, no run: said before a model is loaded for nothing
        command = await find_test_command(root, order.env, runner, tests=config.tests)
        async with self.host.use(order.model, lambda text: emit(RunEvent("phase", {"text": text}))) as hosted:
            request = FixRequest(root, order.issue, config, order.seed, order.keep, order.dry_run, order.run_id)
            briefing = self._briefing(root, hosted, config, lambda text: emit(RunEvent("phase", {"text": text})))
            return await FixRun(request, hosted.engine, hosted.profile, runner, command, emit, briefing).run()

    def _briefing(self, root: Path, hosted: Loaded, config: FixConfig, say: Say) -> Briefing:
        rate = float(self.host.status().get("prefill_tokens_per_s", 0.0))
        make = functools.partial(self.contexts.pack, root, hosted.engine.vocabulary)
        return Briefing(
            lambda issue, budget: make(issue, budget, config.trusted, say, patience_s=_INDEX_PATIENCE_S), rate
        )

    async def context(self, order: ContextOrder, say: Say) -> Pack:
        """What would be packed for an issue, with the model's own tokens. Raises QcnError."""
        if self.stopping.is_set():
            raise DaemonError("the daemon is ending", hint="try again")
        return await self._owned(self._context(order, say))

    async def _context(self, order: ContextOrder, say: Say) -> Pack:
        root = Path(order.workspace).resolve()
        async with self.host.use(order.model, say) as hosted:
            budget = order.budget or hosted.engine.n_ctx * 3 // 4
            vocabulary = hosted.engine.vocabulary
            return await self.contexts.pack(root, vocabulary, order.issue, budget, order.trusted, say)

    def status(self) -> dict[str, Any]:
        """What `qcn-agent status` shows, as JSON values."""
        jail, model = probe(), self.host.status()
        others = [model["engine_pid"]] if model.get("isolation") == "process" else []
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(self._clock() - self._started, 1),
            "num_clients": self._num_clients,
            "runs": [str(path) for path in self._workspaces],
            "resident_bytes": resident_bytes(*others),
            "sandbox": dataclasses.asdict(jail),
            "model": model,
            "completions": self.completions.status(),
        }

    def request_stop(self, *, if_idle: bool) -> bool:
        """Stop the daemon: at once, or only when nothing runs. Returns whether it stops."""
        if if_idle and self._runs:
            return False
        self.stopping.set()
        self._cancel(*self._runs)
        return True

    async def watch_idleness(self, poll_s: float = 1.0) -> None:
        """Stop when there was no client for `daemon.idle_exit_s` seconds."""
        limit = self.config.daemon.idle_exit_s
        while limit and not self.stopping.is_set():
            await asyncio.sleep(poll_s)
            if not self._num_clients and self._clock() - self._idle_since >= limit:
                logger.info("no client for %.0f s, stopping", limit)
                self.stopping.set()

    async def close(self) -> None:
        """Cancel what runs, wait until it has cleaned up, and unload the model."""
        self._cancel(*self._runs)
        await self.completions.stop()
        await self.contexts.close()  # whoever waits for an index need not be waited for
        if self._runs:
            await asyncio.wait(self._runs, timeout=10.0)
        await self.host.close()

    @contextlib.contextmanager
    def _reserved(self, root: Path) -> Iterator[None]:
        for other in self._workspaces:
            if root == other or root.is_relative_to(other) or other.is_relative_to(root):
                raise UsageError(f"another run is working in {other}", hint="wait until it has ended")
        self._workspaces[root] = "fix"
        try:
            yield
        finally:
            del self._workspaces[root]

    async def _owned(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` in a task of its own: whoever cancels, and however often, it is cancelled once and waited for."""
        run = asyncio.create_task(work)
        self._runs.add(run)
        run.add_done_callback(self._forget)
        while not run.done():
            try:
                await asyncio.wait({run})
            except asyncio.CancelledError:
                self._cancel(run)
        return run.result()

    def _cancel(self, *runs: asyncio.Task[Any]) -> None:
        """A second cancellation would break into the putting back that the first one began."""
        for run in set(runs) - self._cancelled:
            self._cancelled.add(run)
            run.cancel()

    def _forget(self, run: asyncio.Task[Any]) -> None:
        self._runs.discard(run)
        self._cancelled.discard(run)
