"""The engine: one loaded model that many conversations share. Implements `Generator`."""

import asyncio
import contextlib
import functools
import logging
import os
import re
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from qcn_agent import gguf, paths
from qcn_agent.config import ModelConfig, SchedulerConfig
from qcn_agent.engine import llama_cpp, memory, selftest
from qcn_agent.engine.backend import Backend
from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.gated_scheduler import GatedScheduler
from qcn_agent.engine.generator import Event, GenerationRequest
from qcn_agent.engine.llama_backend import LlamaBackend, num_sequences
from qcn_agent.engine.llama_model import ProgressCallback, context_length, load_model
from qcn_agent.engine.scheduler import OnEnter, Scheduler
from qcn_agent.engine.sequence import Sequence
from qcn_agent.engine.session import SessionManager
from qcn_agent.engine.status import EngineStatus, SessionStatus
from qcn_agent.engine.stream import EventStream
from qcn_agent.engine.text import LlamaVocabulary
from qcn_agent.engine.trace import TraceFile
from qcn_agent.engine.traced import RequestTracks, TracedSessions
from qcn_agent.engine.turnstile import Side
from qcn_agent.errors import ContextFullError, UsageError

logger = logging.getLogger(__name__)

_MAX_HOST_BYTES = 16 << 30
_PROJECT = re.compile(r"[0-9a-z]{0,16}")  # it becomes part of file names
_SCHEDULING = SchedulerConfig()


class Engine:
    """Use `Engine.load`. Methods may be called from any thread; `generate` needs a running asyncio loop."""

    def __init__(
        self,
        backend: LlamaBackend,
        config: ModelConfig,
        headers: tuple[gguf.GGUFHeader, ...],
        selftest_result: str,
        scheduling: SchedulerConfig,
        trace: TraceFile | None = None,
        on_enter: OnEnter | None = None,
        side: Side | None = None,
    ) -> None:
        self._backend = backend
        self._headers = headers
        self._selftest_result = selftest_result
        self._info = backend.info
        store = _disk_store(backend, config, headers)
        make = SessionManager if trace is None else functools.partial(TracedSessions, trace)
        self._sessions = make(backend, config.max_states, host_bytes=_host_bytes(config), store=store)
        self.metadata: Mapping[str, str] = headers[0].scalars
        self.vocabulary = LlamaVocabulary(backend)
        arguments = (backend, self._sessions, self.metadata, scheduling)
        self._scheduler: Scheduler = (
            Scheduler(*arguments, on_enter=on_enter)
            if side is None
            else GatedScheduler(*arguments, side, on_enter=on_enter)
        )
        self._trace = trace
        if trace is not None and isinstance(self._sessions, TracedSessions):
            self._scheduler.stats.requests.listener = RequestTracks(trace)
            trace.watch(self._sessions.counters)
        self._scheduler.start()

    @classmethod
    def load(
        cls,
        config: ModelConfig,
        path: Path,
        *,
        scheduling: SchedulerConfig = _SCHEDULING,
        on_progress: ProgressCallback | None = None,
        trace: Path | None = None,
        on_enter: OnEnter | None = None,
        side: Side | None = None,
    ) -> "Engine":
        """Load the model at `path`; blocking, so call it in a thread. `on_progress` gets 0..1, False from it aborts.
        `on_enter` is told on the engine thread whose requests are about to enter llama.cpp, or that none is.

        `trace` is a file to which a trace is appended, see `trace.py`. `side` is the engine's place at the gate of its
        device, where it shares that with another one.

        Raises ModelNotFoundError, ModelFormatError, ModelTooLargeError (before any weight is read), ConfigError,
        RequestCancelledError; UsageError when the trace can't be written.
        """
        headers = gguf.check(path)
        llama_cpp.start()
        n_ctx = context_length(config, headers[0].integer(f"{headers[0].architecture}.context_length", 4096))
        memory.check_fits(headers, config, n_ctx, num_sequences(config), gpu=llama_cpp.api.llama_supports_gpu_offload())
        model = load_model(config, tuple(header.path for header in headers), on_progress)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(model.close)
            backend = LlamaBackend(model, config)
            cleanup.callback(backend.close)  # runs before model.close
            result = selftest.ensure(backend, config, gguf.fingerprint(headers))
            trace_file = TraceFile(trace) if trace is not None else None
            if trace_file is not None:
                cleanup.callback(trace_file.close)
            engine = cls(backend, config, headers, result, scheduling, trace_file, on_enter, side)
            cleanup.pop_all()
        return engine

    def beside(
        self, config: ModelConfig, scheduling: SchedulerConfig, side: Side, on_enter: OnEnter | None = None
    ) -> "Engine":
        """A second engine with a context of its own over these weights, which must be closed before this one.

        Raises ModelError when there is no room for it.
        """
        with contextlib.ExitStack() as cleanup:
            backend = LlamaBackend(self._backend.model, config, is_borrowed=True)
            cleanup.callback(backend.close)
            result = selftest.ensure(backend, config, gguf.fingerprint(self._headers))
            engine = Engine(backend, config, self._headers, result, scheduling, on_enter=on_enter, side=side)
            cleanup.pop_all()
        return engine

    @property
    def completion(self) -> "Engine":
        """Itself. See `LoadedEngine`."""
        return self

    @property
    def n_ctx(self) -> int:
        """Longest prompt plus answer of one session, in tokens."""
        return self._backend.n_ctx

    @property
    def n_vocab(self) -> int:
        """Number of tokens that the model knows."""
        return self._backend.n_vocab

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Generator.generate`. Raises UsageError, too, when the request itself is malformed."""
        self._check(request)
        stream = EventStream(asyncio.get_running_loop())
        sequence = Sequence(request, stream)
        self._scheduler.submit(sequence)
        try:
            async with contextlib.aclosing(stream.events()) as events:
                async for event in events:
                    yield event
        finally:
            sequence.cancel()

    def drop_session(self, name: str) -> None:
        """Forget a conversation as soon as none of its requests waits or runs."""
        self._scheduler.drop_session(name)

    def status(self) -> EngineStatus:
        """A snapshot of the counters."""
        stats, info, arena = self._scheduler.stats, self._info, self._sessions.tiers.arena
        return EngineStatus(
            model_path=str(self._headers[0].path),
            model_name=self.metadata.get("general.name", ""),
            architecture=self._headers[0].architecture,
            num_params=info.num_params,
            model_bytes=gguf.model_bytes(self._headers),
            n_ctx=self.n_ctx,
            state_bytes=info.state_bytes,
            build=info.build,
            system=info.system,
            devices=info.devices,
            gpu_offload=info.gpu_offload,
            mmap=info.mmap,
            selftest=self._selftest_result,
            num_requests=stats.num_requests,
            num_evaluated_tokens=stats.num_evaluated_tokens,
            num_reused_tokens=stats.num_reused_tokens,
            num_generated_tokens=stats.num_generated_tokens,
            num_drafted_tokens=stats.num_drafted_tokens,
            num_accepted_tokens=stats.num_accepted_tokens,
            num_repeated_tokens=stats.num_repeated_tokens,
            prefill_tokens_per_s=stats.prefill.tokens_per_s,
            decode_tokens_per_s=stats.decode.tokens_per_s,
            decode_step_ms=1e3 * self._scheduler.times.decode_step_s,
            prefill_knee_tokens=self._scheduler.times.knee,
            num_steps=stats.num_steps,
            num_aborted_steps=stats.num_aborted_steps,
            num_suspended=stats.num_suspended,
            num_superseded=stats.num_superseded,
            num_late=stats.num_late,
            max_completion_steps_waited=stats.max_completion_steps_waited,
            queue_length=self._scheduler.queue_length,
            num_device_states=self._sessions.cache.num_device_states,
            num_host_states=arena.num_states,
            num_host_tokens=arena.num_tokens,
            peak_host_states=arena.peak_states,
            peak_host_tokens=arena.peak_tokens,
            host_cache_bytes=arena.num_bytes,
            num_disk_bytes=self._sessions.num_disk_bytes,
            pending_spill_bytes=self._sessions.pending_spill_bytes,
            num_restored_host_tokens=self._sessions.tiers.num_restored_host_tokens,
            num_restored_disk_tokens=self._sessions.tiers.num_restored_disk_tokens,
            sessions=tuple(SessionStatus(s.name, s.num_tokens, s.num_snapshots) for s in self._sessions.sessions),
            requests=stats.requests.latest,
            engine_pid=os.getpid(),
        )

    def close(self) -> None:
        """Stop the engine thread, save the sessions, free the model. Requests that wait or run end with EngineError."""
        self._scheduler.close()
        with contextlib.ExitStack() as cleanup:  # each of them, whatever becomes of the others
            cleanup.callback(self._backend.close)
            if self._trace is not None:
                cleanup.callback(self._trace.close)
            cleanup.callback(self._sessions.close)

    def _check(self, request: GenerationRequest) -> None:
        """Nothing malformed may reach llama.cpp, which would end the process."""
        prompt = request.prompt
        if prompt.ndim != 1 or not len(prompt) or prompt.dtype.kind not in "iu":
            raise UsageError("a prompt must be a non-empty array of token ids")
        if int(prompt.min()) < 0 or int(prompt.max()) >= self.n_vocab:
            raise UsageError(f"the prompt holds token ids outside 0 .. {self.n_vocab - 1}")
        if request.max_new_tokens < 1:
            raise UsageError("max_new_tokens must be at least 1")
        if not _PROJECT.fullmatch(request.project):
            raise UsageError(f"{request.project!r} is no project tag: at most 16 of 0-9 and a-z")
        needed = len(prompt) + request.max_new_tokens
        if needed > self.n_ctx:
            raise ContextFullError(
                f"{len(prompt)} prompt + {request.max_new_tokens} new tokens exceed the context of {self.n_ctx}",
                hint="raise model.n_ctx, or shorten the conversation",
            )


def _host_bytes(config: ModelConfig) -> int:
    if config.host_cache_mb >= 0:
        return config.host_cache_mb << 20
    return min((memory.available_bytes() or 0) // 10, _MAX_HOST_BYTES)


def _disk_store(backend: Backend, config: ModelConfig, headers: tuple[gguf.GGUFHeader, ...]) -> DiskStore | None:
    """Whatever changes the bytes of a KV cache or state, or their meaning, is in the name of the folder."""
    if not config.disk_cache_mb:
        return None
    passing = max(backend.info.state_bytes, int(backend.n_batch * backend.info.kv_bytes_per_token))
    if _host_bytes(config) < passing:  # all that goes to the disk passes through host memory
        needed = 1 + (passing >> 20)
        logger.warning("no conversation is kept on disk: that takes model.host_cache_mb = %d or more", needed)
        return None
    written_at = tuple(header.path.stat().st_mtime_ns for header in headers)  # the same sizes, other weights
    layout = (gguf.fingerprint(headers), written_at, backend.info.build, config.kv_type, config.flash_attention)
    return DiskStore(paths.kv_cache_dir(), repr(layout), config.disk_cache_mb << 20)
