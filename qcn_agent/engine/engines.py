"""Who makes what: the agent's engine and, where it is asked for and fits, another one for completions.

Same model: the weights are loaded once and have two contexts. Another model: it is loaded beside. Either way both
compute on one device, where a `Turnstile` lets one call through at a time.
"""

import contextlib
import dataclasses
import logging
import threading
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path

from qcn_agent import gguf
from qcn_agent.config import CompletionConfig, ModelConfig, SchedulerConfig
from qcn_agent.engine import llama_cpp, memory
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Event, GenerationRequest, Priority, Vocabulary
from qcn_agent.engine.llama_backend import num_sequences
from qcn_agent.engine.llama_model import ProgressCallback, context_length
from qcn_agent.engine.request_log import MAX_RECORDS
from qcn_agent.engine.scheduler import OnEnter
from qcn_agent.engine.status import EngineStatus, context_of
from qcn_agent.engine.turnstile import Turnstile
from qcn_agent.errors import QcnError, RequestCancelledError

logger = logging.getLogger(__name__)

_MAX_STATES = 6  # of completions: few files are edited at a time
_MAX_HOST_MB = 256
_COMPLETION = CompletionConfig()
_SCHEDULING = SchedulerConfig()


class Engines:
    """Use `Engines.load`. `LoadedEngine` over one or two engines; `note` says why it is one where two were wanted."""

    def __init__(self, agent: Engine, completion: Engine | None = None, note: str = "") -> None:
        self.agent = agent
        self.completion = completion or agent
        self.n_ctx = agent.n_ctx
        self.n_vocab = agent.n_vocab
        self.metadata: Mapping[str, str] = agent.metadata
        self.vocabulary: Vocabulary = agent.vocabulary
        self._note = note

    @classmethod
    def load(
        cls,
        config: ModelConfig,
        path: Path,
        *,
        completion: CompletionConfig = _COMPLETION,
        scheduling: SchedulerConfig = _SCHEDULING,
        on_progress: ProgressCallback | None = None,
        trace: Path | None = None,
        on_enter: OnEnter | None = None,
    ) -> "Engines":
        """See `Engine.load` for the agent's engine and what it raises. The trace is of that one.

        Completions that can't have what `completion` asks for are made by the agent's engine; the log and the status
        say why.
        """
        plan: _Plan | None = None
        note = ""
        try:
            plan = _plan(config, path, completion)
        except QcnError as error:
            note = _note(error)
        if plan is None:
            engine = Engine.load(
                config, path, scheduling=scheduling, on_progress=on_progress, trace=trace, on_enter=on_enter
            )
            return cls(engine, note=note)
        gate, inside = Turnstile(scheduling.min_share), _Inside(on_enter)
        agent = Engine.load(
            config,
            path,
            scheduling=scheduling,
            on_progress=on_progress,
            trace=trace,
            on_enter=inside.listener(),
            side=gate.side(),
        )
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(agent.close)
            try:
                second = plan.load(agent, scheduling, gate, on_progress, inside.listener())
            except RequestCancelledError:
                raise
            except QcnError as error:
                second, note = None, _note(error)
            cleanup.pop_all()
        return cls(agent, second, note)

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`. Completions go to `completion`, in whose vocabulary they are to be."""
        engine = self.completion if request.priority is Priority.COMPLETION else self.agent
        return engine.generate(request)

    def drop_session(self, name: str) -> None:
        """See `Engine.drop_session`."""
        for engine in self._engines:
            engine.drop_session(name)

    def status(self) -> EngineStatus:
        """The agent's, with a part for each context. The latest requests, and the most steps waited, are of both."""
        agent = self.agent.status()
        if self.completion is self.agent:
            contexts = (context_of(agent, "agent", "completion"),)
            return dataclasses.replace(agent, contexts=contexts, completion_note=self._note)
        second = self.completion.status()
        requests = sorted((*agent.requests, *second.requests), key=lambda record: record.ended_at)
        return dataclasses.replace(
            agent,
            contexts=(context_of(agent, "agent"), context_of(second, "completion")),
            max_completion_steps_waited=max(agent.max_completion_steps_waited, second.max_completion_steps_waited),
            requests=tuple(requests[-MAX_RECORDS:]),
        )

    def close(self) -> None:
        """See `Engine.close`. A context goes before the weights that it may have from the other one."""
        with contextlib.ExitStack() as cleanup:
            for engine in self._engines:
                cleanup.callback(engine.close)

    @property
    def _engines(self) -> tuple[Engine, ...]:
        """The agent's first."""
        return (self.agent,) if self.completion is self.agent else (self.agent, self.completion)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A second engine that should fit. `path` is None where it has the agent's weights."""

    config: ModelConfig
    path: Path | None

    def load(
        self,
        agent: Engine,
        scheduling: SchedulerConfig,
        gate: Turnstile,
        on_progress: ProgressCallback | None,
        on_enter: OnEnter | None,
    ) -> Engine:
        side = gate.side()
        if self.path is None:
            return agent.beside(self.config, scheduling, side, on_enter)
        return Engine.load(
            self.config, self.path, scheduling=scheduling, on_progress=on_progress, on_enter=on_enter, side=side
        )


def _plan(config: ModelConfig, path: Path, completion: CompletionConfig) -> _Plan | None:
    """None: completions share the agent's context. Raises QcnError when what is asked for can't be had."""
    other = Path(completion.model) if completion.model and not _is_same(Path(completion.model), path) else None
    if other is None and completion.context == "shared":
        return None
    headers = gguf.check(other or path)
    second = _settings(config, completion, headers, is_other=other is not None)
    needed = _needed(second, headers)
    if other is None:
        needed = dataclasses.replace(needed, weights=0)
    memory.check_beside(_needed(config, gguf.check(path)), needed)
    return _Plan(second, other)


def _settings(
    config: ModelConfig, completion: CompletionConfig, headers: tuple[gguf.GGUFHeader, ...], *, is_other: bool
) -> ModelConfig:
    """The agent's, smaller, and nothing on disk. Placements by tensor name are meant for the agent's model only."""
    host_mb = config.host_cache_mb if config.host_cache_mb >= 0 else _MAX_HOST_MB
    own = dataclasses.replace(
        config,
        n_ctx=min(completion.n_ctx, _trained_context(headers)),
        max_states=min(config.max_states, _MAX_STATES),
        host_cache_mb=min(host_mb, _MAX_HOST_MB),
        disk_cache_mb=0,
    )
    return dataclasses.replace(own, n_cpu_moe=0, override_tensor=()) if is_other else own


def _needed(config: ModelConfig, headers: tuple[gguf.GGUFHeader, ...]) -> memory.MemoryEstimate:
    llama_cpp.start()
    n_ctx = context_length(config, _trained_context(headers))
    gpu = llama_cpp.api.llama_supports_gpu_offload()
    return memory.estimate(headers, config, n_ctx, num_sequences(config), gpu=gpu)


def _trained_context(headers: tuple[gguf.GGUFHeader, ...]) -> int:
    return headers[0].integer(f"{headers[0].architecture}.context_length", 4096)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # whichever is missing is said when it is loaded
        return False


def _note(error: QcnError) -> str:
    logger.warning("completions are made by the agent's model, in its context: %s", error)
    return str(error)


class _Inside:
    """Tells one listener who is inside llama.cpp, of all engines together."""

    def __init__(self, on_enter: OnEnter | None) -> None:
        self._on_enter = on_enter
        self._requests: list[tuple[GenerationRequest, ...]] = []
        self._lock = threading.Lock()

    def listener(self) -> OnEnter | None:
        """What one engine is to call."""
        if self._on_enter is None:
            return None
        number, on_enter = len(self._requests), self._on_enter
        self._requests.append(())

        def enter(requests: Iterable[GenerationRequest]) -> None:
            with self._lock:
                self._requests[number] = tuple(requests)
                on_enter(request for part in self._requests for request in part)

        return enter
