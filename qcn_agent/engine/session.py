"""Conversations in the cache: what of a prompt is reused, and where to take snapshots on the way through it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from qcn_agent.engine.arena import Arena
from qcn_agent.engine.backend import Backend, DecodeError, NoRoomError, Run
from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.generator import FloatArray, GenerationRequest, IntArray, Priority
from qcn_agent.engine.mark import Mark
from qcn_agent.engine.persistence import Persistence
from qcn_agent.engine.prefix_cache import PrefixCache
from qcn_agent.engine.residency import Branch
from qcn_agent.engine.tiers import Tiers
from qcn_agent.errors import ContextFullError, EngineError

_RECENT_BOUNDARIES = 4  # of one prompt; older ones but the first are seldom branched from
_COMPLETION_TAIL, _ANSWER_TAIL = 512, 32  # tokens that are not worth a branch of their own when a session goes back
_SAVED_POINTS = 3  # of a generation that the end of the daemon cuts short
_NOTE_EVERY_S = 0.05
_COMPLETION_PATIENCE = 4096  # calls of others; somebody may type on, and then reads nothing back
_LADDER_GAP = 0.15  # inside a long prefill: at most so much is read again of what was rolled back


class Step(NamedTuple):
    """One branch's part of a decode call."""

    session: Branch
    tokens: IntArray
    num_logits: int = 0  # of its last tokens


@dataclass(frozen=True)
class Prepared:
    """A branch cut back to its usable part of a prompt. `cuts` are the positions where a snapshot is due.

    `logits`, shape (n_vocab,), are there when nothing of the prompt is left to evaluate.
    """

    session: Branch
    num_reused_tokens: int
    cuts: tuple[int, ...]
    logits: FloatArray | None = None


@dataclass(frozen=True)
class SessionInfo:
    """One conversation, for status pages."""

    name: str
    num_tokens: int
    num_snapshots: int


class SessionManager:
    """Keeps conversations within `num_states` device states and `host_bytes` of copies. Engine thread only."""

    def __init__(
        self,
        backend: Backend,
        num_states: int,
        *,
        host_bytes: int = 0,
        store: DiskStore | None = None,
        make_tiers: Callable[..., Tiers] = Tiers,
    ) -> None:
        self._backend = backend
        self.tiers = make_tiers(backend, Arena(host_bytes), store, via=num_states)
        self._mark = Mark(backend, num_states)
        self.cache = PrefixCache(backend, num_states, self.tiers)
        self._noted_at = 0.0
        self.pending_spill_bytes = 0  # about what a crash would lose; readable from any thread
        self.persistence = Persistence(self.cache.kept, store) if store and not backend.full_copies else None

    @property
    def sessions(self) -> tuple[SessionInfo, ...]:
        """The latest branch of each conversation on the device; readable from any thread."""
        latest: dict[str, Branch] = {}
        branches = tuple(self.cache.kept.branches.values())  # in one go: the engine thread may be adding one
        for branch in sorted(branches, key=lambda branch: branch.last_used):
            latest[branch.name] = branch
        return tuple(
            SessionInfo(name, len(branch.ledger), sum(node.park is not None for node in branch.node.path()))
            for name, branch in latest.items()
        )

    def prepare(self, request: GenerationRequest) -> Prepared:
        """Take a branch with the longest usable part of the prompt.

        The branch is the caller's until `release`. Raises NoBranchError, nothing changed, when too many are running.
        """
        is_completion = request.priority is Priority.COMPLETION
        short_tail = _COMPLETION_TAIL if is_completion else _ANSWER_TAIL
        branch, num_known = self.cache.open(request.prompt, request.session, request.project, short_tail=short_tail)
        if is_completion:
            branch.patience = _COMPLETION_PATIENCE
        reused = len(branch.ledger)
        logits = branch.node.logits if reused == len(request.prompt) else None
        return Prepared(branch, reused, self._cuts(request, reused, num_known), logits)

    def extend(self, steps: Sequence[Step]) -> None:
        """Decode one call's tokens at the ends of the steps' branches, evicting idle ones for room.

        Raises ContextFullError when nothing is left to evict (all branches are intact), AbortedError or DecodeError
        when each branch of the call must be recovered.
        """
        runs = [Run(s.session.seq_id, s.tokens, len(s.session.ledger), s.num_logits) for s in steps]
        while True:
            try:
                self._backend.decode(runs)
            except NoRoomError as error:
                if not self.cache.make_room():
                    raise ContextFullError("the KV cache is full", hint="raise model.n_ctx") from error
            else:
                self.cache.kept.num_calls += 1
                for step in steps:
                    step.session.ledger.append(step.tokens)
                return

    def try_extend(self, step: Step) -> bool:
        """Decode tokens that may turn out wrong; `keep` must follow. False, nothing changed, where room is short.

        Nothing is evicted for them. Raises DecodeError, the branch put back, when the call fails.
        """
        session = step.session
        self._mark.set(session)
        try:
            self._backend.decode([Run(session.seq_id, step.tokens, len(session.ledger), step.num_logits)])
        except NoRoomError:
            self._mark.clear()
            return False
        except DecodeError:
            try:
                self._mark.return_to(session)
            finally:
                self._mark.clear()
            raise
        session.ledger.append(step.tokens)
        return True

    def keep(self, session: Branch, num_tokens: int) -> None:
        """After `try_extend`: forget what lies after the first `num_tokens` of the branch.

        A recurrent state can't be cut there: then the branch is as it was before `try_extend`.
        """
        try:
            self._mark.cut(session, num_tokens)
        finally:
            self._mark.clear()

    def snapshot(self, session: Branch, *, is_anchor: bool, logits: FloatArray | None = None) -> bool:
        """Keep the state at the end of the branch, and its logits, at the expense of the least useful other one.

        Whether `recover` comes back to here: what is kept may be worth more than this.
        """
        self.cache.park(session, is_anchor=is_anchor, logits=logits)
        if time.perf_counter() - self._noted_at > _NOTE_EVERY_S:
            self._note_pending()
        return session.node.has_state or not self._backend.needs_snapshots

    def release(self, session: Branch) -> None:
        """The generation is over; what it decoded stays."""
        self.cache.rest(session)
        self._note_pending()

    def recover(self, session: Branch) -> None:
        """After a failed decode: back to the last good state of the branch, which may be empty."""
        self.cache.cut_back(session)

    def drop(self, name: str) -> None:
        """Forget a conversation; nothing happens when there is none of that name."""
        self.cache.drop(name)

    def idle_work(self, budget_s: float = 0.0) -> bool:
        """Housekeeping for about `budget_s` while nobody waits. True when there is more of it."""
        end = time.perf_counter() + budget_s
        self.cache.clear_stale()
        save = self.cache.write_behind if self.persistence is None else self.persistence.tick
        while has_more := save():
            if time.perf_counter() >= end:
                break
        self._note_pending()
        return has_more

    def _note_pending(self) -> None:
        if self.persistence is not None:
            self.pending_spill_bytes = self.persistence.pending_bytes
            self._noted_at = time.perf_counter()

    @property
    def num_disk_bytes(self) -> int:
        """Size of the files of this model's cache."""
        return self.tiers.store.num_bytes if self.tiers.store is not None else 0

    def close(self, timeout_s: float = 7.0) -> None:
        """Save what is not saved yet, as far as the time goes; a write that is stuck costs 5 s more. Nothing follows.

        What was being read is saved as far as it came; so are the latest points on the way there, because whoever asks
        again asks with the same prompt, which ends before the answer that was cut short.
        """
        persistence, self.persistence = self.persistence, None
        if persistence is not None:
            for branch in [branch for branch in self.cache.kept.branches.values() if branch.is_running]:
                self.cache.rest(branch)
                if not branch.is_doomed:
                    parks = [node for node in branch.node.path() if node.park is not None]
                    persistence.also.update(parks[-_SAVED_POINTS:])
            persistence.flush(timeout_s)
            persistence.close()

    def check_integrity(self, is_interrupted: Callable[[], bool] = lambda: False) -> bool:
        """Raise EngineError when the books do not balance. False when interrupted before the end."""
        if self._mark.is_set:
            raise EngineError("cache books: a mark was left behind")
        return self.cache.check_integrity(is_interrupted)

    def _cuts(self, request: GenerationRequest, reused: int, num_known: int) -> tuple[int, ...]:
        """Where to snapshot: anchors and latest boundaries, where paths parted, a ladder, the end (for a retry)."""
        last = len(request.prompt)
        if not self._backend.needs_snapshots:
            return (last,)
        boundaries = sorted({b for b in request.boundaries if 0 < b < last})
        anchors = (anchor for anchor in request.anchors if anchor < last)
        wanted = {*anchors, *boundaries[-_RECENT_BOUNDARIES:], last, min(num_known, last)}
        wanted.update(ladder(reused, last, self._backend.n_batch))
        return tuple(sorted(position for position in wanted if position >= max(reused, 1)))


def ladder(begin: int, end: int, step: int) -> list[int]:
    """Positions between `begin` and `end`, multiples of `step`, ever farther apart towards the beginning."""
    positions: list[int] = []
    position = end
    while True:
        position -= max(step, int(_LADDER_GAP * (end - position)))
        position -= position % step
        if position <= begin:
            return positions
        positions.append(position)
