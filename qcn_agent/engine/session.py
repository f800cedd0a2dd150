"""Conversations in the cache: what of a prompt is reused, and where to take snapshots on the way through it."""

from dataclasses import dataclass

from qcn_agent.engine.arena import Arena
from qcn_agent.engine.backend import Backend, NoRoomError
from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.generator import GenerationRequest, IntArray
from qcn_agent.engine.persistence import Persistence
from qcn_agent.engine.prefix_cache import PrefixCache
from qcn_agent.engine.residency import Branch
from qcn_agent.engine.tiers import Tiers
from qcn_agent.errors import ContextFullError

_RECENT_BOUNDARIES = 4  # of one prompt; older ones but the first are seldom branched from
_LADDER_GAP = 0.15  # inside a long prefill: at most so much is read again of what was rolled back


@dataclass(frozen=True)
class Prepared:
    """A branch cut back to its usable part of a prompt. `cuts` are the positions where a snapshot is due."""

    session: Branch
    num_reused_tokens: int
    cuts: tuple[int, ...]


@dataclass(frozen=True)
class SessionInfo:
    """One conversation, for status pages."""

    name: str
    num_tokens: int
    num_snapshots: int


class SessionManager:
    """Keeps conversations within `num_states` device states and `host_bytes` of copies. Engine thread only."""

    def __init__(
        self, backend: Backend, num_states: int, *, host_bytes: int = 0, store: DiskStore | None = None
    ) -> None:
        self._backend = backend
        self.tiers = Tiers(backend, Arena(host_bytes), store, via=num_states)
        self.cache = PrefixCache(backend, num_states, self.tiers)
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
        """Take a branch with the longest usable part of the prompt; at least one token is left to evaluate.

        Raises NoBranchError when every branch is running.
        """
        branch, num_known = self.cache.open(request.prompt, request.session)
        reused = len(branch.ledger)
        return Prepared(branch, reused, self._cuts(request, reused, num_known))

    def extend(self, session: Branch, tokens: IntArray, *, want_logits: bool) -> None:
        """Decode one call's tokens at the end of the branch, evicting idle branches for room.

        Raises ContextFullError when nothing is left to evict (the branch is intact), DecodeError when it must be
        recovered.
        """
        while True:
            try:
                self._backend.decode(session.seq_id, tokens, len(session.ledger), want_logits=want_logits)
            except NoRoomError as error:
                if not self.cache.make_room():
                    raise ContextFullError("the KV cache is full", hint="raise model.n_ctx") from error
            else:
                session.ledger.append(tokens)
                return

    def snapshot(self, session: Branch, *, is_anchor: bool) -> None:
        """Keep the state at the end of the branch, at the expense of the least useful other one."""
        self.cache.park(session, is_anchor=is_anchor)

    def release(self, session: Branch) -> None:
        """The generation is over; what it decoded stays."""
        self.cache.rest(session)

    def recover(self, session: Branch) -> None:
        """After a failed decode: back to the last good state of the branch, which may be empty."""
        self.cache.cut_back(session)

    def drop(self, name: str) -> None:
        """Forget a conversation; nothing happens when there is none of that name."""
        self.cache.drop(name)

    def idle_work(self) -> bool:
        """One piece of housekeeping, a few milliseconds, while nobody waits. False when there is nothing to do."""
        return self.persistence is not None and self.persistence.tick()

    @property
    def pending_spill_bytes(self) -> int:
        """About so many bytes a crash would lose."""
        return self.persistence.pending_bytes if self.persistence is not None else 0

    def close(self, timeout_s: float = 10.0) -> None:
        """Save what is not saved yet, as far as the time goes."""
        if self.persistence is not None:
            self.persistence.flush(timeout_s)
            self.persistence.close()

    def check_integrity(self) -> None:
        """Raise EngineError when the books do not balance. Looks at every node."""
        self.cache.check_integrity()

    def _cuts(self, request: GenerationRequest, reused: int, num_known: int) -> tuple[int, ...]:
        """Where to snapshot: first and latest boundaries, where paths parted, a ladder, before the last token."""
        if not self._backend.needs_snapshots:
            return ()
        last = len(request.prompt) - 1
        boundaries = sorted({b for b in request.boundaries if 0 < b < last})
        wanted = {*boundaries[:1], *boundaries[-_RECENT_BOUNDARIES:], last, min(num_known, last)}
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
