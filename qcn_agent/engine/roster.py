"""Who waits and who has a branch of the cache: start, suspend, end. Engine thread only."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace

from qcn_agent.engine.backend import Backend, DecodeError, NoBranchError, NoCellsError
from qcn_agent.engine.generator import EndReason, Priority
from qcn_agent.engine.policy import Turn
from qcn_agent.engine.residency import Branch
from qcn_agent.engine.sampling import resolve
from qcn_agent.engine.sequence import Sequence, SequenceState
from qcn_agent.engine.session import Prepared, SessionManager
from qcn_agent.engine.stats import EngineStats
from qcn_agent.errors import ContextFullError, QcnError


class Roster:
    """Generations by where they are. Each has a branch exactly while it is in `running`."""

    def __init__(
        self,
        backend: Backend,
        sessions: SessionManager,
        metadata: Mapping[str, str],
        stats: EngineStats,
        clock: Callable[[], float],
    ) -> None:
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self._backend = backend
        self._sessions = sessions
        self._resolve = functools.lru_cache(64)(functools.partial(resolve, metadata=metadata))  # most ask for the same
        self._stats = stats
        self._clock = clock

    @property
    def live(self) -> tuple[Sequence, ...]:
        """All generations that have not ended."""
        return (*self.running, *self.waiting)

    @property
    def is_single(self) -> bool:
        """Whether there is at most one."""
        return len(self.running) + len(self.waiting) <= 1

    @property
    def startable(self) -> list[Sequence]:
        """Those that may be given a branch, most urgent first."""
        return sorted((sequence for sequence in self.waiting if not sequence.is_blocked), key=urgency)

    def start(self, sequence: Sequence) -> bool:
        """Give a waiting generation a branch. If false it stays blocked until another ends, or has failed."""
        try:
            self._make_sampler(sequence)
            begin = self._clock()
            prepared = self._prepare(sequence)
        except NoBranchError as error:
            sequence.is_blocked, sequence.needs_room = True, isinstance(error, NoCellsError)
            if not self.running:  # nobody's end could unblock it
                self.retire(sequence, error)
            return False
        except QcnError as error:
            self.retire(sequence, error)
            if isinstance(error, DecodeError):  # half restored
                self._sessions.drop(sequence.request.session)
            return False
        if not sequence.prefill_at:
            self._stats.num_reused_tokens += prepared.num_reused_tokens
        self.waiting.remove(sequence)
        self.running.append(sequence)
        now = self._clock()
        sequence.start(prepared, now - begin, now)
        self.snapshot_if_due(sequence)
        return True

    def suspend(self, sequence: Sequence) -> None:
        """Take a generation's branch until another one ends; what it read stays cached while there is room."""
        self.running.remove(sequence)
        self.waiting.append(sequence)
        self._sessions.release(session_of(sequence))
        sequence.suspend()
        self._stats.num_suspended += 1

    def make_room(self, error: ContextFullError) -> None:
        """The cache is full of running generations: the youngest of the least urgent class waits, or fails alone."""
        victim = max(self.running, key=lambda sequence: (sequence.turn, *urgency(sequence)))
        if len(self.running) == 1:
            self.retire(victim, error)
            return
        self.suspend(victim)
        victim.needs_room = True

    def repair(self, sequence: Sequence, error: DecodeError | None) -> None:
        """After a failed call: back to the last good state, to be read again from there; with `error`, to fail."""
        self._sessions.recover(session_of(sequence))
        if error is not None:
            self.retire(sequence, error)
            return
        sequence.num_failures += 1
        sequence.rewind(SequenceState.PREFILL)

    def finish(self, sequence: Sequence, reason: EndReason) -> None:
        """End a generation with its answer."""
        if sequence.turn is Turn.COMPLETION:
            self._stats.max_completion_steps_waited = max(
                self._stats.max_completion_steps_waited, sequence.steps_waited
            )
        self._stats.num_late += reason == "deadline"
        self._remove(sequence)  # before the consumer hears of it
        self._stats.requests.add(sequence, reason)
        sequence.finish(reason)

    def retire(self, sequence: Sequence, error: QcnError | None) -> None:
        """End a generation without an answer, which its consumer hears of whatever else goes wrong."""
        try:
            self._remove(sequence)
        finally:
            self._stats.requests.add(sequence, _ending(sequence, error))
            sequence.abandon(error)

    def snapshot_if_due(self, sequence: Sequence) -> None:
        """Keep the state where a later request is likely to branch off."""
        position = sequence.num_cached_tokens
        if position in sequence.cuts:
            is_anchor, is_end = position in sequence.request.anchors, position == len(sequence.path)
            logits = self._backend.logits() if is_end and sequence.kept_logits is None else None
            self._sessions.snapshot(session_of(sequence), is_anchor=is_anchor, logits=logits)

    def _make_sampler(self, sequence: Sequence) -> None:
        if sequence.sampler is None:
            settings = self._resolve(sequence.request.sampling)
            sequence.sampler = self._backend.sampler(settings, sequence.request.grammar)
            self._stats.num_requests += 1

    def _prepare(self, sequence: Sequence) -> Prepared:
        """A branch, if need be that of a less urgent generation. Raises NoBranchError."""
        request = sequence.request
        if sequence.path is not request.prompt:
            request = replace(request, prompt=sequence.path)
        while True:
            try:
                return self._sessions.prepare(request)
            except NoBranchError:
                lower = [other for other in self.running if other.request.priority > request.priority]
                if not lower:
                    raise
                same = [other for other in lower if other.request.session == request.session]
                self.suspend(max(same or lower, key=urgency))

    def _remove(self, sequence: Sequence) -> None:
        if sequence in self.running:
            self.running.remove(sequence)
            self._sessions.release(session_of(sequence))
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        for other in self.waiting:
            if not self._stays_blocked(other, sequence):
                other.is_blocked = other.needs_room = False

    def _stays_blocked(self, waiting: Sequence, ended: Sequence) -> bool:
        """The room that a completion leaves is too small to be worth reading a long path again for."""
        is_small = ended.request.priority is Priority.COMPLETION < waiting.request.priority
        return waiting.needs_room and is_small and bool(self.running)


def urgency(sequence: Sequence) -> tuple[int, float]:
    """Sort key: the smaller goes first."""
    return sequence.request.priority, sequence.submitted_at


def _ending(sequence: Sequence, error: QcnError | None) -> str:
    if error is not None:
        return "error"
    return "superseded" if sequence.is_superseded else "cancelled"


def session_of(sequence: Sequence) -> Branch:
    """The session of a running generation."""
    assert sequence.session is not None  # noqa: S101 - held by `Roster.running`
    return sequence.session
