"""A scheduler whose steps a test makes itself, over real llama.cpp, with a clock that only calls of the model move."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine import scheduler, sequence
from qcn_agent.engine.backend import Run
from qcn_agent.engine.generator import Event, Finished, GenerationRequest
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.session import SessionManager
from qcn_agent.engine.stream import EventStream

MS_PER_CALL, MS_PER_TOKEN = 4.0, 1.0


class Recorder(EventStream):
    """Keeps what a consumer would get."""

    def __init__(self) -> None:
        self.received: list[Event] = []
        self.error: Exception | None = None
        self.is_closed = False

    @property
    def is_due(self) -> bool:
        """Each token is taken at once."""
        return True

    def push(self, event: Event, *, urgent: bool = False) -> None:
        """Keep."""
        self.received.append(event)

    def close(self, error: Exception | None = None) -> None:
        """Keep."""
        self.is_closed, self.error = True, error

    @property
    def finished(self) -> Finished:
        """The last event, which must be the end of an answer."""
        assert self.error is None
        last = self.received[-1]
        assert isinstance(last, Finished)
        return last


class CallLog:
    """Stands between manager and backend: counts calls, moves the clock, and lets a test act in the middle of a call.

    A call takes 4 ms plus 1 ms a token.
    """

    def __init__(self, backend: LlamaBackend) -> None:
        self.now = 100.0
        self.calls: list[list[tuple[int, int]]] = []  # each call's (sequence id, number of tokens)
        self.during_call: Callable[[], object] | None = None  # run once, when the next call has begun
        self._decode = backend.decode
        backend.decode = self.decode  # type: ignore[method-assign]

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def decode(self, runs: Sequence[Run]) -> None:
        """Decode for real."""
        act, self.during_call = self.during_call, None
        if act is not None:
            act()
        num_tokens = sum(len(run.tokens) for run in runs)
        self.now += (MS_PER_CALL + MS_PER_TOKEN * num_tokens) / 1e3
        self.calls.append([(run.seq_id, len(run.tokens)) for run in runs])
        self._decode(runs)


class Desk:
    """Submit requests, make steps, look at what happened. By default a call makes one token of each answer."""

    def __init__(
        self,
        backend: LlamaBackend,
        config: SchedulerConfig | None = None,
        metadata: Mapping[str, str] | None = None,
        *,
        max_states: int = 9,
    ) -> None:
        self.backend = backend
        self.log = CallLog(backend)
        self.sessions = SessionManager(backend, max_states)
        self.scheduler = scheduler.Scheduler(
            backend, self.sessions, metadata or {}, config or SchedulerConfig(speculate="off"), self.log.clock
        )

    def submit(self, request: GenerationRequest) -> tuple[sequence.Sequence, Recorder]:
        """Queue a request."""
        recorder = Recorder()
        generation = sequence.Sequence(request, recorder, clock=self.log.clock)
        self.scheduler.submit(generation)
        return generation, recorder

    def step_until(self, condition: Callable[[], Any]) -> int:
        """Step until the condition holds; the number of steps."""
        num_steps = 0
        while not condition():
            assert self.scheduler.step(), "nothing left to do"
            num_steps += 1
            assert num_steps < 20_000
        return num_steps

    def finish(self) -> None:
        """Step until nothing is left to do; the books must balance then."""
        num_steps = 0
        while self.scheduler.step():
            num_steps += 1
            assert num_steps < 20_000
        self.sessions.check_integrity()

    def run(self, request: GenerationRequest) -> tuple[Finished, Recorder]:
        """Serve one request to its end."""
        _, recorder = self.submit(request)
        self.finish()
        return recorder.finished, recorder
