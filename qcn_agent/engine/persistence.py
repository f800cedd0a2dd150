"""Keeps conversations on disk behind everybody's back, and finds them again after a restart.

Written are the tails of conversations and the anchors, with the KV that they need, and what went to the host anyway.
All decisions are the engine thread's; one more thread only writes.
"""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qcn_agent.engine.arena import Blob, Identity, path_key, path_keys
from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.prefix_tree import Node
from qcn_agent.engine.residency import Residency

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    blob: Blob
    result: "Future[Path | None]"


class Persistence:
    """Of one cache. `kept` must be empty when this is made: what is on disk becomes its first content."""

    def __init__(self, kept: Residency, store: DiskStore) -> None:
        self._kept = kept
        self._store = store
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="qcn-disk")
        self._job: _Job | None = None
        _adopt(kept, store)

    @property
    def pending_bytes(self) -> int:
        """About so many bytes a crash would lose now, those of running generations included.

        KV that is on disk counts as long as the state that makes it useful is not.
        """
        tiers, branches = self._kept.tiers, self._kept.branches.values()
        leaves = {branch.node for branch in branches} | set(self._anchors())
        lost = {leaf: self._lost_part(leaf) for leaf in leaves}
        num_tokens = sum(node.end - node.start for node in {node for part in lost.values() for node in part})
        num_tokens += sum(len(branch.ledger) - branch.node.end for branch in branches)
        num_states = sum(bool(part) for part in lost.values()) if self._kept.needs_states else 0
        return tiers.size_of(num_tokens, with_state=False) + num_states * tiers.size_of(0, with_state=True)

    def _lost_part(self, leaf: Node) -> list[Node]:
        """Nodes on the path of `leaf` beyond the last one that could be gone on from after a restart."""
        path = leaf.path()
        num_on_disk = next((n for n, node in enumerate(path) if not (node.kv and node.kv.file)), len(path))
        restorable = num_on_disk
        if self._kept.needs_states:
            has_state = [bool(node.state and node.state.file) for node in path[:num_on_disk]]
            restorable = max((n + 1 for n, has in enumerate(has_state) if has), default=0)
        return path[restorable:]

    def tick(self) -> bool:
        """Do one piece of work. False when everything worth it is written, or the disk takes no more."""
        if self._job is not None:
            return self._collect(wait_s=0.005)
        wanted = self._wanted()
        blob = self._unwritten(wanted)
        if blob is None or blob.data is None or blob.identity is None:
            # Not before all copies are written: where host memory is short, two would displace each other for ever.
            return any(self._kept.save_a_part(leaf) for leaf in wanted)
        self._job = _Job(blob, self._writer.submit(self._store.write, blob.identity, blob.data))
        return True

    def flush(self, timeout_s: float) -> bool:
        """Write all that is pending; whether it was done in time."""
        end = time.monotonic() + timeout_s
        while self.tick():
            if time.monotonic() > end:
                return False
        return True

    def close(self) -> None:
        """Wait for the write that is going on."""
        while self._job is not None:
            self._collect(wait_s=1.0)
        self._writer.shutdown()

    def _anchors(self) -> list[Node]:
        return [node for node in self._kept.parks.values() if node.is_anchor]

    def _wanted(self) -> list[Node]:
        """Nodes whose state should survive, most valuable first, as far as the disk has room for states."""
        tails = (branch.node for branch in self._kept.branches.values() if not branch.is_running)
        leaves = {*tails, *self._anchors()}
        wanted = sorted(leaves, key=lambda node: self._kept.value(node, is_kept=False), reverse=True)
        num_bytes, affordable = 0, list[Node]()
        for node in wanted if not self._store.is_broken else ():
            needed = self._kept.tiers.size_of(node.end, with_state=True)
            if num_bytes + needed <= self._store.max_bytes:
                num_bytes += needed
                affordable.append(node)
        return affordable

    def _unwritten(self, wanted: list[Node]) -> Blob | None:
        """A blob to write next: KV before the states that need it. Makes room on disk at the expense of others."""
        if self._store.is_broken:
            return None
        stored = (
            blob for node in self._kept.stored for blob in (node.kv, node.state) if blob and blob.data is not None
        )
        waiting = [blob for blob in stored if blob.file is None and blob.num_bytes <= self._store.max_bytes]
        blob = min(waiting, key=lambda blob: (blob.num_tokens == 0, blob.start), default=None)
        while blob is not None and not self._store.has_room(blob.num_bytes):
            victim = self._kept.least_useful_copy(lambda node: self._is_on_disk(node) and node not in wanted)
            if victim is None:
                return None
            self._kept.forget_copies(victim)
        return blob

    def _is_on_disk(self, node: Node) -> bool:
        """Whether forgetting the copies of `node` makes room on disk."""
        blob = node.state if self._kept.needs_states else node.kv
        return blob is not None and blob.file is not None and (self._kept.needs_states or not node.children)

    def _collect(self, wait_s: float) -> bool:
        job = self._job
        if job is None:
            return False
        try:
            file = job.result.result(wait_s)
        except TimeoutError:
            return True
        except Exception:  # the border of the writer's thread: what it could not write is not on disk
            logger.exception("a write to the disk cache failed in an unexpected way")
            file, self._store.is_broken = None, True
        self._job = None
        if file is None:
            return False
        self._store.note(job.blob, file)
        if not job.blob.num_users:  # given up meanwhile
            self._store.remove(job.blob)
        elif not self._kept.tiers.arena.has_room(self._kept.tiers.arena.max_bytes // 2):
            self._kept.tiers.arena.empty(job.blob)  # the device or the disk has it, and others need the room
        return True


def _adopt(kept: Residency, store: DiskStore) -> None:
    """Hang what is on disk into the tree. Files that nothing leads to are removed."""
    stored = store.load()
    places: dict[str, tuple[Node, int]] = {path_key(np.zeros(0, np.int32)): (kept.tree.root, 0)}
    joints = sorted({position for found in stored for position in (found.identity.start, found.identity.end)})
    for found in stored:
        identity = found.identity
        blob = Blob(None, found.num_bytes, identity.start, identity.end - identity.start, found.file, num_users=0)
        place = places.get(identity.before)
        if place is not None and identity.is_state:
            _adopt_state(kept, blob, _node_at(kept, *place))
        elif place is not None:
            leaf = _adopt_kv(kept, identity, blob, _node_at(kept, *place))
            inside = [position for position in joints if identity.start < position <= identity.end]
            for position, key in zip(inside, path_keys(leaf.path_tokens(), inside), strict=True):
                places.setdefault(key, (leaf, position))
        if not blob.num_users:
            store.remove(blob)
    for node in reversed(list(kept.tree.nodes())):
        kept.prune(node)


def _adopt_state(kept: Residency, blob: Blob, node: Node) -> None:
    if node.state is None and node is not kept.tree.root:
        node.state, blob.num_users = blob, 1
        kept.note_stored(node)


def _adopt_kv(kept: Residency, identity: Identity, blob: Blob, top: Node) -> Node:
    leaf = kept.tree.extend(top, np.frombuffer(identity.tokens, np.int32), identity.ends)
    for node in leaf.path()[len(top.path()) :]:
        if node.kv is None:
            node.kv = blob
            blob.num_users += 1
        kept.note_stored(node)
    return leaf


def _node_at(kept: Residency, node: Node, position: int) -> Node:
    """The node on the path of `node` that ends at `position`, split off if need be."""
    while node.parent is not None and node.start >= position:
        node = node.parent
    if node.end == position:
        return node
    upper = kept.tree.split(node, position)
    kept.note_stored(upper)
    return upper
