"""Our engine on the loop's clock: the real scheduler and prefix cache over a backend that only takes time.

Calls cost what `Rates` say of their tokens, and say what a `Speak` says. Events arrive when the call that made them has
ended; whoever comes meanwhile is seen at the next one.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from collections.abc import Sequence as Runs
from dataclasses import dataclass

import numpy as np

from qcn_agent.completion.rates import Rates
from qcn_agent.config import ModelConfig, SchedulerConfig
from qcn_agent.engine import llama_cpp
from qcn_agent.engine.backend import Backend, Run
from qcn_agent.engine.generator import Event, FloatArray, GenerationRequest, IntArray, Priority, TokenLogprob
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_model import load_model
from qcn_agent.engine.sampling import SamplingSettings
from qcn_agent.engine.scheduler import Scheduler
from qcn_agent.engine.sequence import Sequence
from qcn_agent.engine.session import SessionManager
from qcn_agent.engine.stream import EventStream
from qcn_agent.engine.text import LlamaVocabulary
from qcn_agent.models.embedded import embedded_model_path
from tests.bench.null_backend import NullBackend, NullSampler
from tests.bench.policy_oracle import Speak

NUM_STATES, N_CTX = 12, 1 << 17
START_S = 1.0  # the scheduler takes 0 for "never"


@contextlib.contextmanager
def embedded_backend() -> Iterator[Backend]:
    """The embedded model, for its vocabulary."""
    llama_cpp.start()
    config = ModelConfig(n_ctx=512, n_threads=1, max_states=2, disk_cache_mb=0, host_cache_mb=0)
    model = load_model(config, (embedded_model_path(),))
    backend = LlamaBackend(model, config)
    try:
        yield backend
    finally:
        backend.close()
        model.close()


@dataclass
class Spent:
    """Seconds that calls have taken and that the loop has not slept yet."""

    seconds: float = 0.0


class SimBackend(NullBackend):
    """Knows the tokens of each sequence. `real` is one with a vocabulary."""

    def __init__(self, real: Backend, rates: Rates, spent: Spent, *, is_hybrid: bool) -> None:
        super().__init__(N_CTX, NUM_STATES + 1)
        self.needs_snapshots = is_hybrid
        self.speak: Speak = lambda path: int(path[-1])
        self.rates = rates
        self._real = real
        self._spent = spent
        self._paths: list[IntArray] = [np.empty(0, np.int32)] * self.n_seq_max
        self._rows: list[IntArray] = []  # the path that each row of the latest call belongs to
        self._kept: list[IntArray] = []  # paths whose logits somebody has

    def decode(self, runs: Runs[Run]) -> None:
        """Take the time of one call."""
        super().decode(runs)
        self._rows = []
        for run in runs:
            path = np.concatenate([self._paths[run.seq_id][: run.position], run.tokens])
            self._paths[run.seq_id] = path
            self._rows.append(path)
        self._spent.seconds += call_ms(self.rates, sum(len(run.tokens) for run in runs)) / 1e3

    def logits(self, row: int = -1) -> FloatArray:
        """The number of a path, for `SimSampler`."""
        self._kept.append(self._rows[row])
        return np.array([len(self._kept) - 1], np.float32)

    def path(self, row: int, kept: FloatArray | None) -> IntArray:
        """What logits follow."""
        return self._rows[row] if kept is None else self._kept[int(kept[0])]

    def snapshot(self, src: int, park: int) -> None:
        """See `Backend.snapshot`."""
        self._paths[park] = self._paths[src]

    def restore(self, park: int, dst: int, num_tokens: int) -> None:
        """See `Backend.restore`. A state is usable at its own position only."""
        if self.needs_snapshots and len(self._paths[park]) != num_tokens:
            raise ValueError(f"a state of {len(self._paths[park])} tokens was put back as {num_tokens}")
        super().restore(park, dst, num_tokens)
        self._paths[dst] = self._paths[dst][:num_tokens]

    def fork(self, src: int, park: int, dst: int, num_tokens: int) -> None:
        """See `Backend.fork`."""
        super().fork(src, park, dst, num_tokens)
        self._paths[dst] = self._paths[src][:num_tokens]

    def drop(self, seq_id: int) -> None:
        """See `Backend.drop`."""
        super().drop(seq_id)
        self._paths[seq_id] = self._paths[seq_id][:0]

    def trim(self, seq_id: int, num_tokens: int) -> None:
        """See `Backend.trim`."""
        super().trim(seq_id, num_tokens)
        self._paths[seq_id] = self._paths[seq_id][:num_tokens]

    def sampler(self, settings: SamplingSettings, grammar: Grammar | None) -> NullSampler:
        """One that says what is scripted."""
        return SimSampler(self)

    def piece(self, token: int, *, special: bool) -> bytes:
        """See `Backend.piece`."""
        return self._real.piece(token, special=special)

    def is_end(self, token: int) -> bool:
        """See `Backend.is_end`."""
        return self._real.is_end(token)


class SimSampler(NullSampler):
    """Says what the script has behind the tokens so far."""

    def __init__(self, backend: SimBackend) -> None:
        super().__init__()
        self._backend = backend

    def sample(self, position: int, row: int = -1, kept: FloatArray | None = None) -> int:
        """See `Sampler.sample`."""
        return self._backend.speak(self._backend.path(row, kept))

    def logprob(self, token: int, row: int = -1) -> TokenLogprob | None:
        """Not known."""
        return None


def call_ms(rates: Rates, num_tokens: int) -> float:
    """Milliseconds of a call of so many tokens, of whatever sequences."""
    return rates.decode_ms if num_tokens == 1 else rates.prefill_ms(num_tokens)


class SteppedScheduler(Scheduler):
    """One call a step, so that whoever comes or goes during a call is seen after it, as by the engine thread."""

    def _has_news(self) -> bool:
        return True


class _HeldStream(EventStream):
    """Keeps what a call says until it has ended. Text is sent as by the engine: the first at once, then in pieces."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scheduler: Scheduler) -> None:
        super().__init__(loop, loop.time)
        self.num_steps_at_end: int | None = None
        self.is_over = False
        self._scheduler = scheduler
        self._held: list[Event] = []
        self._failure: Exception | None = None

    def push(self, event: Event, *, urgent: bool = False) -> None:
        """Keep it."""
        self._held.append(event)

    def close(self, error: Exception | None = None) -> None:
        """Keep that, too."""
        self.num_steps_at_end, self._failure = self._scheduler.stats.num_steps, error

    def release(self) -> None:
        """The call has ended."""
        for event in self._held:
            super().push(event, urgent=True)
        self._held.clear()
        if self.num_steps_at_end is not None and not self.is_over:
            self.is_over = True
            super().close(self._failure)


class SimEngine:
    """`Generator`. `run` is to be a task of the same loop."""

    def __init__(self, real: Backend, rates: Rates, *, is_hybrid: bool = True) -> None:
        self.vocabulary = LlamaVocabulary(real)
        self.n_ctx = N_CTX
        self.sequences: list[Sequence] = []
        self.steps_after_cancel: list[int] = []  # calls begun between a cancel and the end of what was cancelled
        self._spent = Spent()
        self.backend = SimBackend(real, rates, self._spent, is_hybrid=is_hybrid)
        self._sessions = SessionManager(self.backend, NUM_STATES)
        config = SchedulerConfig(speculate="off")
        self._scheduler = SteppedScheduler(self.backend, self._sessions, {}, config, self._clock)
        self._live: list[_HeldStream] = []
        self._wake = asyncio.Event()

    @property
    def completions(self) -> list[Sequence]:
        """All generations but an agent's, with their counters."""
        return [one for one in self.sequences if one.request.priority is not Priority.INTERACTIVE]

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Generator.generate`."""
        stream = _HeldStream(asyncio.get_running_loop(), self._scheduler)
        sequence = Sequence(request, stream, clock=self._clock)
        self.sequences.append(sequence)
        self._live.append(stream)
        self._scheduler.submit(sequence)
        self._wake.set()
        try:
            async with contextlib.aclosing(stream.events()) as events:
                async for event in events:
                    yield event
        finally:
            if stream.num_steps_at_end is None:
                asyncio.get_running_loop().create_task(self._watch(stream, self._scheduler.stats.num_steps))
            sequence.cancel()
            self._wake.set()

    def drop_session(self, name: str) -> None:
        """See `Generator.drop_session`."""
        self._scheduler.drop_session(name)
        self._wake.set()

    async def run(self) -> None:
        """Make steps while there is something to do, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._scheduler.step():
                seconds, self._spent.seconds = self._spent.seconds, 0.0
                await asyncio.sleep(seconds)
                self._release()
            self._release()

    def _release(self) -> None:
        for stream in self._live:
            stream.release()
        self._live = [stream for stream in self._live if not stream.is_over]

    async def _watch(self, stream: _HeldStream, since: int) -> None:
        while stream.num_steps_at_end is None:
            await asyncio.sleep(0.001)
        self.steps_after_cancel.append(stream.num_steps_at_end - since)

    def _clock(self) -> float:
        return START_S + asyncio.get_running_loop().time() + self._spent.seconds
