"""A cache of token paths: where a prompt can go on from, and what of it is kept for the next one."""

import logging
from collections.abc import Callable
from dataclasses import replace

from qcn_agent.engine.backend import Backend, BlobLostError, DecodeError, NoBranchError, NoCellsError, NoRoomError
from qcn_agent.engine.generator import FloatArray, IntArray
from qcn_agent.engine.integrity import check_integrity
from qcn_agent.engine.ledger import Ledger
from qcn_agent.engine.origin import NOWHERE, Origin, Tier, on_device
from qcn_agent.engine.prefix_tree import Node
from qcn_agent.engine.residency import Branch, Residency, by_score
from qcn_agent.engine.tiers import Tiers

logger = logging.getLogger(__name__)


class PrefixCache:
    """Owns the sequence ids 0 .. `num_ids` - 1 of `backend`. Engine thread only."""

    def __init__(self, backend: Backend, num_ids: int, tiers: Tiers) -> None:
        self.kept = Residency(backend, num_ids, tiers)
        self._backend = backend

    @property
    def num_parks(self) -> int:
        """Device states that rest."""
        return len(self.kept.parks)

    @property
    def num_device_states(self) -> int:
        """Sequence ids in use."""
        return self.kept.num_ids - len(self.kept.free)

    def open(self, prompt: IntArray, name: str, project: str = "", *, short_tail: int) -> tuple[Branch, int]:
        """A running branch that holds the longest usable part of `prompt`, and how far the prompt is known at all.

        At most `short_tail` tokens of the session's own branch are given up for it. At least one token is left to
        evaluate, unless the node at its end keeps the logits. Raises NoBranchError when too many branches run.
        """
        self.kept.clock += 1
        while True:
            node, num_known = self._best(prompt, name)
            try:
                branch = self._continue(node, name) or self._rewind(node, name, short_tail) or self._start(node, name)
            except BlobLostError as error:
                logger.warning("a cached stretch is lost and will be evaluated again: %s", error)
                self.kept.forget_lost(node)
                continue
            if branch is not None:
                branch.name, branch.is_running, branch.last_used = name, True, self.kept.clock
                branch.project = project
                self._came_through(node, branch)
                return branch, num_known

    def _came_through(self, node: Node, branch: Branch) -> None:
        """Whoever came through a node came through all above it."""
        node.last_used = self.kept.clock
        while node.parent is not None and not (branch.name in node.sessions and branch.project in node.projects):
            node.sessions.add(branch.name)
            self.kept.tiers.own(node, branch.project, branch.seq_id)
            node = node.parent

    def commit(self, branch: Branch) -> Node:
        """Tell the tree what the branch has decoded."""
        known, ledger = branch.node.end, branch.ledger
        if len(ledger) > known:
            top = branch.node
            node = branch.node = self.kept.tree.extend(top, ledger.tokens[known:], ledger.ends[known:].tobytes())
            while node is not top and node is not None:
                node.holders.add(branch.seq_id)
                node.sessions.add(branch.name)
                self.kept.tiers.own(node, branch.project, branch.seq_id)
                node.last_used = self.kept.clock
                self.kept.note_stored(node)
                node = node.parent  # type: ignore[assignment]  # `top` comes before the root's parent
        return branch.node

    def park(self, branch: Branch, *, is_anchor: bool, logits: FloatArray | None = None) -> None:
        """Keep the state at the tail of a running branch, if it is worth more than the cheapest that is kept.

        With `logits` the same prompt needs no evaluation at all the next time.
        """
        node = self.commit(branch)
        if logits is not None:
            self.kept.keep_logits(node, logits)
        self.kept.clock += 1
        node.last_used, node.is_anchor = self.kept.clock, node.is_anchor or is_anchor
        if not self._backend.needs_snapshots or node.park is not None or node.state is not None:
            return
        if not self.kept.free:
            cheapest = self.kept.cheapest()
            if cheapest is None or cheapest.score > self.kept.value(node, is_kept=False):
                return
            self.kept.evict(cheapest)
        node.park = self.kept.free.pop()
        self.kept.parks[node.park] = node
        self._backend.snapshot(branch.seq_id, node.park)
        if self._backend.full_copies:
            for ancestor in node.path():
                ancestor.holders.add(node.park)

    def rest(self, branch: Branch) -> None:
        """The branch runs no longer: its tail is a state to go on from."""
        node = self.commit(branch)
        branch.is_running = False
        branch.last_used, branch.rested_at = self.kept.clock, self.kept.num_calls
        if node is not self.kept.tree.root and not branch.is_doomed:
            node.live.add(branch.seq_id)
            return
        if branch.is_doomed:
            self._save_anchors(branch)
        self.kept.drop_branch(branch)
        if branch.is_doomed:
            self.drop(branch.name)

    def cut_back(self, branch: Branch) -> None:
        """After a failed call: put the branch back to the last good state of its path, perhaps to nothing."""
        if not self._backend.needs_snapshots:
            self._backend.trim(branch.seq_id, len(branch.ledger))
            return
        node: Node = branch.node
        while node.parent is not None and not node.has_state:
            node = node.parent
        try:
            self._roll_back(branch, node)
        except BlobLostError:
            self._roll_back(branch, self.kept.tree.root)
            self.kept.forget_lost(node)

    def make_room(self, keep: Branch | None = None) -> bool:
        """Give up the least useful idle branch, so that KV cells come free. False when there is none."""
        holders = [holding for holding in self.kept.holdings() if holding.branch not in (None, keep)]
        if self._backend.full_copies:
            holders = list(self.kept.holdings())
        if not holders:
            return False
        self.kept.evict(min(holders, key=by_score))
        return True

    def drop(self, name: str) -> None:
        """Forget a conversation: all that no other one came through, anchors and what leads to them excepted."""
        for branch in [branch for branch in self.kept.branches.values() if branch.name == name]:
            if branch.is_running:
                branch.is_doomed = True
            else:
                self._save_anchors(branch)
                self.kept.drop_branch(branch)
        for node in reversed(list(self.kept.tree.nodes())):  # children before parents
            if name in node.sessions:
                node.sessions.discard(name)
                if not node.sessions and not node.is_anchor and not node.holders:
                    self.kept.forget_states(node)
                    self.kept.prune(node)

    def _save_anchors(self, branch: Branch) -> None:
        """Copy to the host what is not there yet, as far as it has room: they are useless without the branch's KV."""
        if self._backend.full_copies:
            return
        try:
            for node in branch.node.path():
                while node.is_anchor and self.kept.save_a_part(node):
                    pass
        except Exception:  # what is to be forgotten must go, with or without a copy
            logger.exception("an anchor could not be copied before its conversation is forgotten")

    def write_behind(self) -> bool:
        """Copy one thing that only the device has to host memory while nobody waits. False when there is nothing.

        Only what fits without displacing anything is copied.
        """
        if self._backend.full_copies:
            return False
        holdings = sorted(self.kept.holdings(), key=by_score, reverse=True)
        return any(self.kept.save_a_part(holding.node, may_displace=False) for holding in holdings)

    def clear_stale(self) -> None:
        """Take branches off the device that cost others more there than they save."""
        for branch in self.kept.stale():
            self.kept.drop_branch(branch)

    def check_integrity(self, is_interrupted: Callable[[], bool] = lambda: False) -> bool:
        """See `integrity.check_integrity`."""
        return check_integrity(self.kept, self._backend, is_interrupted)

    def _best(self, prompt: IntArray, name: str) -> tuple[Node, int]:
        """The deepest node to go on from, and how many tokens of the prompt are known."""
        tree, near = self.kept.tree, self._near(name)
        match = tree.match(prompt, *near)
        if match.num_tokens == len(prompt) and (match.is_partial or match.node.logits is None):
            match = tree.match(prompt[:-1], *near)
        node = match.node
        if match.is_partial and self._backend.needs_snapshots:
            node = node.parent or tree.root
        elif match.is_partial:
            node = tree.split(node, match.num_tokens)
            self.kept.note_stored(node)
        while self._backend.needs_snapshots and node.parent is not None and not node.has_state:
            node = node.parent
        return node, match.num_tokens

    def _near(self, name: str) -> tuple[Node, IntArray] | tuple[()]:
        """Where the session was last, and the tokens up to there."""
        own = (branch for branch in self.kept.branches.values() if branch.name == name)
        branch = max(own, key=lambda branch: branch.last_used, default=None)
        return () if branch is None else (branch.node, branch.ledger.tokens)

    def _continue(self, node: Node, name: str) -> Branch | None:
        """An idle branch that ends here and may move on: the session's own, or one whose state is kept elsewhere."""
        ending = [self.kept.branches[seq_id] for seq_id in node.live]
        for branch in ending:
            kept = len(ending) > 1 or node.park is not None or node.state is not None
            kept = kept or not self._backend.needs_snapshots
            if branch.name == name or kept or (not self.kept.free and not self.kept.parks):
                node.live.discard(branch.seq_id)
                branch.origin = on_device(node.end, self._device_state)
                return branch
        return None

    def _rewind(self, node: Node, name: str, short_tail: int) -> Branch | None:
        """The session's own branch cut back in place, if little lies beyond `node`: KV is neither copied nor holed."""
        if node is self.kept.tree.root:
            return None
        idle = (branch for branch in self.kept.branches.values() if branch.name == name and not branch.is_running)
        near = [branch for branch in idle if branch.seq_id in node.holders]
        branch = min(near, key=lambda branch: len(branch.ledger), default=None)
        if branch is None or branch.node is node or len(branch.ledger) - node.end > short_tail:
            return None
        branch.origin = on_device(node.end, self._roll_back(branch, node))
        return branch

    def _start(self, node: Node, name: str) -> Branch | None:
        """A branch at `node`, in a free id or by cutting one back. None when something was evicted: look again."""
        if sum(branch.is_running for branch in self.kept.branches.values()) >= max(1, self.kept.num_ids // 2):
            raise NoBranchError("all sequences are in use")
        if self.kept.free:
            return self._materialise(node, name)
        victim = self.kept.cheapest(spare=node)
        if victim is None:
            raise NoBranchError("all sequences are in use")
        if victim.branch is not None and victim.branch.seq_id in node.holders:
            self.kept.save_branch(victim)
            state = self._roll_back(victim.branch, node)
            victim.branch.origin = on_device(node.end, state)
            return victim.branch
        self.kept.evict(victim)
        return None

    def _materialise(self, node: Node, name: str) -> Branch:
        """Fill a free sequence with the path of `node`: KV from a holder and from copies, then the state."""
        seq_id = self.kept.free.pop()
        try:
            while True:
                try:
                    origin = self._fill(node, seq_id)
                    break
                except NoRoomError as error:
                    self._backend.drop(seq_id)
                    if not self.make_room():
                        if any(branch.is_running for branch in self.kept.branches.values()):
                            raise NoCellsError("running generations fill the KV cache") from error
                        self.kept.forget_states(node)
                        raise BlobLostError("no room to read it back") from error
                    if node.parent is None and node is not self.kept.tree.root:
                        raise BlobLostError("making room took it") from error
        except BaseException:
            self._backend.drop(seq_id)
            self.kept.free.append(seq_id)
            raise
        ledger = Ledger.of(node.path_tokens(), node.path_ends())
        branch = self.kept.branches[seq_id] = Branch(seq_id, name, node, ledger, origin=origin)
        for ancestor in node.path():
            ancestor.holders.add(seq_id)
        return branch

    def _fill(self, node: Node, dst: int) -> Origin:
        path = node.path()
        if not path:
            return NOWHERE
        source = node.park if node.park is not None else next(iter(node.live), None)
        if self._backend.full_copies and source is not None:
            self._backend.fork(source, source, dst, node.end)
            return on_device(node.end, self._device_state)
        held = [ancestor for ancestor in path if ancestor.holders]
        if held:
            holder = min(held[-1].holders)
            self._backend.share_kv(holder, dst, 0, held[-1].end)
        copied = self.kept.tiers.load_kv(path[len(held) :], dst)
        return replace(copied, num_device_tokens=held[-1].end if held else 0, state=self._restore_state(node, dst))

    @property
    def _device_state(self) -> Tier:
        return Tier.DEVICE if self._backend.needs_snapshots else Tier.NONE

    def _restore_state(self, node: Node, dst: int) -> Tier:
        """The tier that it came from."""
        if not self._backend.needs_snapshots:
            return Tier.NONE
        source = node.park if node.park is not None else next(iter(node.live - {dst}), None)
        if source is None:
            return self.kept.tiers.load_state(node, dst)
        self._backend.snapshot(source, dst)
        return Tier.DEVICE

    def _roll_back(self, branch: Branch, node: Node) -> Tier:
        """Cut `branch` back to `node`, which lies on its path and whose state is kept elsewhere (or is the root).

        The tier that the state came from.
        """
        seq_id = branch.seq_id
        try:
            state = self._restore(node, seq_id)
        except (BlobLostError, DecodeError) as error:
            if not branch.is_running:  # it may hold anything now, and must never be saved as what it was
                self.kept.drop_branch(branch)
            raise BlobLostError(f"a state could not be restored: {error}") from error
        branch.node.live.discard(seq_id)
        old, branch.node = branch.node, node
        branch.ledger.truncate(node.end)
        self.kept.unhold(old, seq_id, stop=node)
        return state

    def _restore(self, node: Node, dst: int) -> Tier:
        """Put a sequence that holds the path of `node` and more back to it; the tier that the state came from."""
        if node is self.kept.tree.root:
            self._backend.drop(dst)
            return self._device_state
        if self._backend.full_copies:
            source = node.park if node.park is not None else next(iter(node.live - {dst}))
            self._backend.restore(source, dst, node.end)
            return self._device_state
        state = self._restore_state(node, dst)
        self._backend.trim(dst, node.end)
        return state
