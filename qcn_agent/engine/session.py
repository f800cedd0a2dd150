"""Conversations in the cache: what of a prompt is there already, and what to keep for the next one.

A session owns one live sequence and the snapshots along its path. Its ledger is the truth about both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from qcn_agent.engine.backend import Backend, NoBranchError, NoRoomError, Run
from qcn_agent.engine.generator import GenerationRequest, IntArray
from qcn_agent.engine.ledger import Ledger
from qcn_agent.errors import ContextFullError, EngineError

_MIN_FORK_GAIN = 64  # tokens; for less a session keeps its own path and snapshots
_RECENT_BOUNDARIES = 4  # of one prompt; older ones but the first are seldom branched from


@dataclass
class Snapshot:
    """A saved state after the first `num_tokens` tokens of its session. An anchor goes last."""

    park: int
    num_tokens: int
    is_anchor: bool
    last_used: int


@dataclass
class Session:
    """A conversation. `snapshots` are ordered by position."""

    name: str
    seq_id: int
    ledger: Ledger = field(default_factory=Ledger)
    snapshots: list[Snapshot] = field(default_factory=list)
    last_used: int = 0
    is_running: bool = False  # between `prepare` and `release`


class Step(NamedTuple):
    """One session's part of a decode call."""

    session: Session
    tokens: IntArray
    want_logits: bool = False


@dataclass(frozen=True)
class Prepared:
    """A session cut back to its usable part of a prompt. `cuts` are the positions where a snapshot is due."""

    session: Session
    num_reused_tokens: int
    cuts: tuple[int, ...]


@dataclass(frozen=True)
class _Source:
    """A place to go on from: the first `num_tokens` tokens of `session`, restored from `snapshot` unless it is None."""

    session: Session
    num_tokens: int
    snapshot: Snapshot | None


class SessionManager:
    """Keeps at most `max_sessions` sessions and `max_snapshots` snapshots in `backend`. Engine thread only."""

    def __init__(self, backend: Backend, max_sessions: int, max_snapshots: int) -> None:
        self._backend = backend
        self._free_seqs = list(range(max_sessions))[::-1]
        self._free_parks = list(range(max_sessions, max_sessions + max_snapshots))[::-1]
        self._spare = max_sessions + max_snapshots  # a park for copies that last one call
        self._capacity = (max_sessions, max_snapshots)
        self._sessions: dict[str, Session] = {}
        self._clock = 0

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions; readable from any thread."""
        return tuple(self._sessions.values())

    def prepare(self, request: GenerationRequest) -> Prepared:
        """Make the session hold the longest usable part of the prompt, leaving at least one token to evaluate.

        The session is the caller's until `release`. Raises NoBranchError when every session, or this one, is running.
        """
        prompt = request.prompt
        session = self._get(request.session)
        own = self._best_source(session, prompt)
        foreign = max(
            (self._best_source(s, prompt) for s in self.sessions if s is not session), key=_depth, default=own
        )
        branch = session.ledger.common_prefix(prompt)
        if foreign.num_tokens > own.num_tokens + (_MIN_FORK_GAIN if own.num_tokens else 0):
            self._fork(foreign, session)
        else:
            self._cut_back(own)
        reused = len(session.ledger)
        session.is_running = True
        return Prepared(session, reused, self._cuts(request, reused, branch))

    def extend(self, steps: Sequence[Step]) -> None:
        """Decode one call's tokens at the ends of the steps' sessions, evicting idle ones for room.

        Raises ContextFullError when nothing is left to evict (all sessions are intact), AbortedError or DecodeError
        when each session of the call must be recovered.
        """
        runs = [Run(s.session.seq_id, s.tokens, len(s.session.ledger), s.want_logits) for s in steps]
        while True:
            try:
                self._backend.decode(runs)
            except NoRoomError as error:
                if not self._evict_idle():
                    raise ContextFullError("the KV cache is full", hint="raise model.n_ctx") from error
            else:
                for step in steps:
                    step.session.ledger.append(step.tokens)
                return

    def release(self, session: Session) -> None:
        """The generation is over: the session stays in the cache and may be evicted."""
        session.is_running = False

    def idle_work(self, budget_s: float) -> bool:
        """Do what is best done while nobody waits, for about `budget_s`. True when there is more of it."""
        return False

    def snapshot(self, session: Session, *, is_anchor: bool) -> None:
        """Keep the state at the end of the session, at the expense of the least useful other one."""
        if not self._backend.needs_snapshots:
            return
        num_tokens = len(session.ledger)
        for existing in session.snapshots:
            if existing.num_tokens == num_tokens:
                existing.last_used = self._tick()
                existing.is_anchor |= is_anchor
                return
        park = self._free_parks.pop() if self._free_parks else self._reclaim_park()
        self._backend.snapshot(session.seq_id, park)
        session.snapshots.append(Snapshot(park, num_tokens, is_anchor, self._tick()))

    def recover(self, session: Session) -> None:
        """After a failed decode: back to the last good state of the session, which may be empty."""
        if not self._backend.needs_snapshots:
            self._cut_back(_Source(session, len(session.ledger), None), force=True)
        elif session.snapshots:
            self._cut_back(_Source(session, session.snapshots[-1].num_tokens, session.snapshots[-1]))
        else:
            self._clear(session)

    def drop(self, name: str) -> None:
        """Forget a session; nothing happens when there is none of that name."""
        session = self._sessions.pop(name, None)
        if session is not None:
            self._clear(session)
            self._free_seqs.append(session.seq_id)

    def check_integrity(self) -> None:
        """Raise EngineError when the books do not balance."""
        seqs = [s.seq_id for s in self.sessions] + self._free_seqs
        parks = [p.park for s in self.sessions for p in s.snapshots] + self._free_parks
        for ids, capacity, what in zip((seqs, parks), self._capacity, ("sequences", "parks"), strict=True):
            if len(ids) != capacity or len(set(ids)) != capacity:
                raise EngineError(f"session books: {what} are lost or shared: {sorted(ids)}")
        for session in self.sessions:
            positions = [snapshot.num_tokens for snapshot in session.snapshots]
            if positions != sorted(set(positions)) or any(p > len(session.ledger) for p in positions):
                raise EngineError(f"session books: snapshots of {session.name!r} at {positions}")
            if self._backend.length(session.seq_id) != len(session.ledger):
                raise EngineError(f"session books: {session.name!r} and its ledger differ in length")

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _get(self, name: str) -> Session:
        if name not in self._sessions:
            if not self._free_seqs and not self._evict_idle():
                raise NoBranchError("every session is running")
            self._sessions[name] = Session(name, self._free_seqs.pop())
        session = self._sessions[name]
        if session.is_running:
            raise NoBranchError(f"session {name!r} is running")
        session.last_used = self._tick()
        return session

    def _best_source(self, session: Session, prompt: IntArray) -> _Source:
        """The deepest point of `session` that lies on the prompt and before its last token."""
        common = min(session.ledger.common_prefix(prompt), len(prompt) - 1)
        if common == len(session.ledger) or not self._backend.needs_snapshots:
            return _Source(session, common, None)
        usable = [snapshot for snapshot in session.snapshots if snapshot.num_tokens <= common]
        return _Source(session, usable[-1].num_tokens, usable[-1]) if usable else _Source(session, 0, None)

    def _cut_back(self, source: _Source, *, force: bool = False) -> None:
        session, num_tokens = source.session, source.num_tokens
        if num_tokens == len(session.ledger) and source.snapshot is None and not force:
            return
        if num_tokens == 0:
            self._clear(session)
            return
        park = session.seq_id
        if source.snapshot is not None:
            park = source.snapshot.park
            source.snapshot.last_used = self._tick()
        self._backend.restore(park, session.seq_id, num_tokens)
        session.ledger.truncate(num_tokens)
        self._drop_snapshots(session, beyond=num_tokens)

    def _fork(self, source: _Source, session: Session) -> None:
        """Replace what `session` holds by the beginning of another one's path."""
        self._clear(session)
        park = self._spare
        if source.snapshot is not None:
            park = source.snapshot.park
            source.snapshot.last_used = self._tick()
        else:
            self._backend.snapshot(source.session.seq_id, park)
        self._backend.fork(source.session.seq_id, park, session.seq_id, source.num_tokens)
        self._backend.drop(self._spare)
        session.ledger.extend_from(source.session.ledger, source.num_tokens)

    def _cuts(self, request: GenerationRequest, reused: int, branch: int) -> tuple[int, ...]:
        """Where to snapshot: first and latest boundaries, where paths parted, before the last token (for a retry)."""
        if not self._backend.needs_snapshots:
            return ()
        last = len(request.prompt) - 1
        boundaries = sorted({b for b in request.boundaries if 0 < b < last})
        wanted = {*boundaries[:1], *boundaries[-_RECENT_BOUNDARIES:], last, min(branch, last)}
        return tuple(sorted(position for position in wanted if position >= max(reused, 1)))

    def _evict_idle(self) -> bool:
        """Drop the idle session that was used longest ago. False when there is none."""
        idle = [session for session in self.sessions if not session.is_running]
        if idle:
            self.drop(min(idle, key=lambda session: session.last_used).name)
        return bool(idle)

    def _clear(self, session: Session) -> None:
        self._backend.drop(session.seq_id)
        session.ledger.truncate(0)
        self._drop_snapshots(session, beyond=-1)

    def _drop_snapshots(self, session: Session, beyond: int) -> None:
        while session.snapshots and session.snapshots[-1].num_tokens > beyond:
            self._release_park(session.snapshots.pop().park)

    def _release_park(self, park: int) -> None:
        self._backend.drop(park)
        self._free_parks.append(park)

    def _reclaim_park(self) -> int:
        """Give up the snapshot that was used longest ago; an anchor only when there is nothing else."""
        session, snapshot = min(self._all_snapshots(), key=lambda pair: (pair[1].is_anchor, pair[1].last_used))
        session.snapshots.remove(snapshot)
        self._backend.drop(snapshot.park)
        return snapshot.park

    def _all_snapshots(self) -> Iterator[tuple[Session, Snapshot]]:
        return ((session, snapshot) for session in self.sessions for snapshot in session.snapshots)


def _depth(source: _Source) -> int:
    return source.num_tokens
