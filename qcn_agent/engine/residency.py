"""What each sequence id of a context holds, what it is worth, and how it is given up.

A *branch* is a sequence id that tokens are decoded into; it holds the KV of its whole path and the state at its tail.
A *park* is a sequence id that holds one recurrent state and no KV of its own. Both cost one device state. Invariants:

- each node's KV is held by a branch or has a copy outside the device, and so is that of all its ancestors;
- a node without children is held by a branch, or has something worth keeping (a state; for pure attention its KV);
- a branch that runs holds nodes but offers no state: its tail moves;
- what has a copy of anything has copies of all KV above, unless some of it could not be read (`has_gaps`). So nobody
  need walk the whole path of a node to see whether its state would survive.
"""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from qcn_agent.engine.arena import Blob
from qcn_agent.engine.backend import Backend
from qcn_agent.engine.generator import FloatArray
from qcn_agent.engine.ledger import Ledger
from qcn_agent.engine.origin import NOWHERE, Origin
from qcn_agent.engine.prefix_tree import Node, PrefixTree
from qcn_agent.engine.tiers import Tiers

_ANCHOR_WEIGHT = 8.0  # system prompts and repository heads are shared by sessions to come
_KEPT_WEIGHT = 0.02  # reading a copy back costs so much of evaluating it (seen: 1/70 to 1/480)
_MIN_SAVED_TOKENS = 64  # a park that saves less is not worth copying off the device
_PATIENCE_CALLS = 128  # of others, see `stale`; measured: reading a token's KV back costs 100 x what it costs a call
_TAIL_TOKENS = 512  # where a conversation stopped it will most likely go on, however close the state before it is


NodeValue = Callable[[Node], float]


@dataclass(eq=False)
class Branch:
    """A path that can be extended. `node` is the part of `ledger` that the tree knows."""

    seq_id: int
    name: str
    node: Node
    ledger: Ledger
    is_running: bool = True
    is_doomed: bool = False  # its session was dropped while it ran
    last_used: int = 0
    rested_at: int = 0  # in calls of the model
    patience: int = _PATIENCE_CALLS
    origin: Origin = NOWHERE  # of what it held when it was opened
    project: str = ""  # whose conversation it is


class Holding(NamedTuple):
    """A sequence id that could be given up: a branch, or the park of a node."""

    node: Node
    branch: Branch | None
    score: float


by_score = attrgetter("score")


class Residency:
    """Owns the sequence ids 0 .. `num_ids` - 1 of `backend`."""

    def __init__(self, backend: Backend, num_ids: int, tiers: Tiers) -> None:
        self.tree = PrefixTree()
        self.tiers = tiers
        self.num_ids = num_ids
        self.branches: dict[int, Branch] = {}
        self.parks: dict[int, Node] = {}
        self.free = list(range(num_ids))[::-1]
        self.stored: set[Node] = set()  # nodes with a copy outside the device
        self.with_state: set[Node] = set()  # those of them with one of the state
        self.has_gaps = False  # copies of KV were lost: what lies below may have copies of its own all the same
        self.clock = 0
        self.num_calls = 0  # of the model
        self._with_logits: list[Node] = []  # oldest first
        self.needs_states = backend.needs_snapshots
        self._backend = backend

    def holdings(self) -> Iterator[Holding]:
        """Every sequence id that may be given up."""
        for node in self.parks.values():
            yield Holding(node, None, self.value(node, is_kept=self.is_clean(node)))
        for branch in self.branches.values():
            if not branch.is_running:
                kept = self.is_clean(branch.node)
                yield Holding(branch.node, branch, self.value(branch.node, is_kept=kept))

    def cheapest(self, spare: Node | None = None) -> Holding | None:
        """The least useful holding that the state of `spare` does not depend on."""
        usable = [h for h in self.holdings() if spare is None or h.node is not spare or self._is_spare(spare, h)]
        return min(usable, key=by_score, default=None)

    def _is_spare(self, node: Node, holding: Holding) -> bool:
        """Whether the state of `node` outlives this holding."""
        others = (node.park is not None) + len(node.live) + (node.state is not None) - 1
        return others > 0 or (holding.branch is not None and not self.needs_states)

    def _loss(self, node: Node) -> int:
        """Tokens to evaluate again if the state of `node` were gone.

        An anchor counts on the anchors above it only: what else lies between goes with its conversation.
        """
        above = node.parent
        while above is not None and above.parent is not None:
            if (above.park is not None or above.live or above.state is not None) and (
                above.is_anchor or not node.is_anchor
            ):
                break
            above = above.parent
        return node.end - (above.end if above else 0)

    def value(self, node: Node, *, is_kept: bool) -> float:
        """What the state of `node` saves, weighted by class and age. `is_kept`: on another tier as well."""
        weight = (_ANCHOR_WEIGHT if node.is_anchor else 1.0) * (_KEPT_WEIGHT if is_kept else 1.0)
        loss = self._loss(node)
        if node.live and loss < _TAIL_TOKENS:
            loss = _TAIL_TOKENS
        return weight * loss / (1 + self.clock - node.last_used)

    def stale(self) -> list[Branch]:
        """Idle branches with copies of all they hold, whose cells by now cost others more than reading them back will.

        Attention goes through all cells up to the highest used one, whoever they belong to.
        """
        idle = (branch for branch in self.branches.values() if not branch.is_running)
        return [b for b in idle if self.num_calls - b.rested_at > b.patience and self.is_clean(b.node)]

    def evict(self, holding: Holding) -> None:
        """Give up a sequence id; what only it had is copied to the host if it is worth the room there."""
        if holding.branch is not None:
            self.save_branch(holding)
            self.drop_branch(holding.branch)
            return
        node = holding.node
        if not self._backend.full_copies and not node.live and node.state is None:
            self.save(node, node.park, score=holding.score)
        self._drop_park(node)
        self.prune(node)

    def save_branch(self, holding: Holding) -> None:
        """Copy what only this branch has, if host memory has room for it or for something less useful."""
        if not self._backend.full_copies and holding.branch is not None:
            self.save(holding.node, holding.branch.seq_id, score=holding.score)

    def save(self, node: Node, src: int | None, *, score: float = 0.0, may_displace: bool = True) -> bool:
        """Copy the state of `node`, which `src` holds, and all KV of its path that has no copy. False without room."""
        if src is None or not (node.live or self._loss(node) >= _MIN_SAVED_TOKENS):
            return False
        missing = self._without_copy(node)
        num_tokens = sum(ancestor.end - ancestor.start for ancestor in missing)
        needed = self.tiers.size_of(num_tokens, with_state=node.state is None, num_stretches=len(missing))
        if not self.tiers.arena.has_room(needed) and not (may_displace and self._displace(needed, score, node)):
            return False
        for ancestor in missing:
            self.tiers.save_kv(ancestor, min(ancestor.holders))
            self.note_stored(ancestor)
        self.tiers.save_state(node, src)
        self.note_stored(node)
        if self.tiers.arena.has_room(0):
            return True
        self.forget_copies(node)  # it was larger than estimated
        return False

    def save_a_part(self, node: Node, *, may_displace: bool = True) -> bool:
        """Copy one thing to the host that the state of `node` needs and that has no copy. False when all has one.

        Gives up what is also on disk, or is worth less than `node` by the same measure: as long as nothing is used, no
        copy can come back in the place of what displaced it, and this comes to an end.
        """
        score = self.value(node, is_kept=False) if may_displace else 0.0
        for above in self._without_copy(node):
            needed = self.tiers.size_of(above.end - above.start, with_state=False)
            if not self._displace(needed, score, node, self._unsaved_value):
                return False
            self.tiers.save_kv(above, min(above.holders))
            self.note_stored(above)
            return True
        source = self.source(node)
        if not self.needs_states or node.state is not None or source is None:
            return False
        if not self._displace(self.tiers.size_of(0, with_state=True), score, node, self._unsaved_value):
            return False
        self.tiers.save_state(node, source)
        self.note_stored(node)
        return True

    def least_useful_copy(self, is_candidate: Callable[[Node], bool], value: NodeValue | None = None) -> Node | None:
        """Of the nodes with a copy of a state (pure attention: of KV), the one whose copies are worth least."""
        nodes = self.with_state if self.needs_states else self.stored
        return min(filter(is_candidate, nodes), key=value or self._copy_value, default=None)

    def _displace(self, num_bytes: int, score: float, keep: Node, value: NodeValue | None = None) -> bool:
        """Give up copies that are worth less than `score` until so many bytes are free."""
        if self.tiers.arena.has_room(num_bytes):
            return True
        kept, value = set(keep.path()), value or self._copy_value
        while not self.tiers.arena.has_room(num_bytes):
            node = self.least_useful_copy(lambda node: node not in kept and self._is_on_host(node), value)
            if node is None or value(node) >= score:
                return False
            self._give_up_memory(node, kept)
        return True

    def _unsaved_value(self, node: Node) -> float:
        """What the copy of `node` is worth to one who can't know that the device will keep its own."""
        blob = self.copy_of(node)
        return 0.0 if blob is not None and blob.file is not None else self.value(node, is_kept=False)

    def _give_up_memory(self, node: Node, spare: Set[Node]) -> None:
        """What is also on disk stays there; the rest of the copies goes, but for those of `spare`."""
        on_disk = [blob for blob in (node.state, *(above.kv for above in node.path())) if blob and blob.file]
        for blob in on_disk:
            self.tiers.arena.empty(blob)
        if self.copy_of(node) not in on_disk:
            self.forget_copies(node, spare)

    def _is_on_host(self, node: Node) -> bool:
        """Whether giving up the copy of this node frees bytes and takes nothing from those below."""
        if self.needs_states:
            return node.state is not None and node.state.data is not None
        return not node.children and node.kv is not None and node.kv.data is not None

    def _copy_value(self, node: Node) -> float:
        return self.value(node, is_kept=self.source(node) is not None)

    def forget_copies(self, node: Node, spare: Set[Node] = frozenset()) -> None:
        """Give up the copies of this node's state and of KV that nothing needs any more, nor `spare` will."""
        self.tiers.forget_state(node)
        above = node
        while above.parent is not None and above not in spare and above.holders and not above.has_dependent_copies:
            self.tiers.forget_kv(above)
            self.note_stored(above)
            above = above.parent
        if not self.needs_states and not node.children:
            self.tiers.forget_kv(node)
        self.note_stored(node)
        self.prune(node)

    def forget_lost(self, node: Node) -> None:
        """After a copy on the path of `node` could not be read: without it, look again."""
        for ancestor in node.path():
            if ancestor.kv is not None and ancestor.kv.is_lost:
                self._forget_everywhere(ancestor.kv, ancestor)
                if ancestor.parent is None:
                    return
        self.forget_copies(node)

    def _forget_everywhere(self, blob: Blob, top: Node) -> None:
        """Without a lost copy of KV, which after a split several nodes from `top` down may have."""
        self.has_gaps = True
        for node in [top, *self.tree.nodes(top)]:
            if node.parent is not None and node.kv is blob:
                self.tiers.forget_kv(node)
                self.note_stored(node)
                if not node.holders:
                    self._remove_below(node)

    def drop_branch(self, branch: Branch) -> None:
        """Give up an idle branch without a copy."""
        del self.branches[branch.seq_id]
        branch.node.live.discard(branch.seq_id)
        self._backend.drop(branch.seq_id)
        self.free.append(branch.seq_id)
        self.unhold(branch.node, branch.seq_id, stop=self.tree.root)

    def _drop_park(self, node: Node) -> None:
        if node.park is not None:
            park, node.park = node.park, None
            del self.parks[park]
            self._backend.drop(park)
            self.free.append(park)
            if self._backend.full_copies:
                self.unhold(node, park, stop=self.tree.root)

    def keep_logits(self, node: Node, logits: FloatArray) -> None:
        """Keep the logits after `node`, and of as many others as there are sequence ids."""
        node.logits = logits
        self._with_logits = [other for other in self._with_logits if other is not node] + [node]
        if len(self._with_logits) > self.num_ids:
            self._with_logits.pop(0).logits = None

    def forget_states(self, node: Node) -> None:
        """Give up the resting state of `node` on all tiers."""
        self._drop_park(node)
        self.tiers.forget_state(node)
        self.note_stored(node)

    def unhold(self, node: Node, seq_id: int, stop: Node) -> None:
        """`seq_id` no longer has the KV from below `stop` down to `node`."""
        path = node.path()[len(stop.path()) :]
        for ancestor in path:
            ancestor.holders.discard(seq_id)
        lost = next((ancestor for ancestor in path if not ancestor.holders and ancestor.kv is None), None)
        if lost is not None:
            node = lost.parent or self.tree.root
            self._remove_below(lost)
        self.prune(node)

    def _remove_below(self, top: Node) -> None:
        """The KV of `top` is gone, and with it the use of all that lies below."""
        for node in reversed([top, *self.tree.nodes(top)]):
            self._remove(node)

    def prune(self, node: Node) -> None:
        """Remove nodes that serve nothing, from here upwards."""
        while node.parent is not None and not node.children and not node.holders and not self._is_useful(node):
            parent = node.parent
            self._remove(node)
            node = parent

    def _is_useful(self, node: Node) -> bool:
        return node.has_state if self.needs_states else node.kv is not None

    def _remove(self, node: Node) -> None:
        if node.parent is None:
            return
        self._drop_park(node)
        self.tiers.forget_state(node)
        self.tiers.forget_kv(node)
        self.note_stored(node)
        if node.parent is not None:
            self.tree.remove(node)

    def source(self, node: Node) -> int | None:
        """A sequence id that holds the state of `node`."""
        return node.park if node.park is not None else next(iter(node.live), None)

    def is_clean(self, node: Node) -> bool:
        """Whether a copy outside the device exists of all that `node` needs."""
        if self.copy_of(node) is None:
            return node is self.tree.root
        return not self.has_gaps or not self._without_copy(node)

    def _without_copy(self, node: Node) -> list[Node]:
        """The nodes on the path of `node` whose KV has no copy, the upper ones first."""
        if self.has_gaps:
            return [above for above in node.path() if above.kv is None]
        found, above = [], node
        while above.parent is not None and above.kv is None:
            found.append(above)
            above = above.parent
        return found[::-1]

    def copy_of(self, node: Node) -> Blob | None:
        """The copy outside the device without which nobody goes on from `node`: of its state, or of its KV if pure."""
        return node.state if self.needs_states else node.kv

    def note_stored(self, node: Node) -> None:
        """Keep `stored` and `with_state` true after the copies of `node` changed."""
        (self.stored.discard if node.kv is None and node.state is None else self.stored.add)(node)
        (self.with_state.discard if node.state is None else self.with_state.add)(node)
