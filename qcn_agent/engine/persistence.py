"""Keeps conversations on disk behind everybody's back; `adoption.py` finds them again after a restart.

Written are the tails of conversations and the anchors, with the KV that they need, and what went to the host anyway.
All decisions are the engine thread's; one more thread a write only writes.
"""

import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.engine.adoption import adopt
from qcn_agent.engine.arena import Blob
from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.ownership import as_said
from qcn_agent.engine.prefix_tree import Node
from qcn_agent.engine.residency import Residency

logger = logging.getLogger(__name__)

_MAX_SHARE = 0.5  # of the disk, for one project while others have files


@dataclass(frozen=True)
class _Job:
    blob: Blob
    result: "Future[Path | None]"


class Persistence:
    """Of one cache. `kept` must be empty when this is made: what is on disk becomes its first content.

    `also` are more nodes with a state that is worth writing.
    """

    def __init__(self, kept: Residency, store: DiskStore) -> None:
        self._kept = kept
        self._store = store
        self._job: _Job | None = None
        self.also: set[Node] = set()
        adopt(kept, store)
        self._trim()

    def _trim(self) -> None:
        """The budget may have been lowered since: what is worth least goes, whether anything is written or not."""
        while self._store.num_bytes > self._store.max_bytes:
            victim = self._kept.least_useful_copy(self._is_on_disk)
            if victim is None:
                return
            self._kept.forget_copies(victim)

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
        lost, node = [], leaf
        while node.parent is not None and not self._is_written(self._kept.copy_of(node)):
            lost.append(node)
            node = node.parent
        return lost

    @staticmethod
    def _is_written(blob: Blob | None) -> bool:
        """Then so is the KV before it: see the order in `_unwritten`."""
        return blob is not None and blob.file is not None

    def tick(self) -> bool:
        """Do one piece of work. False when everything worth it is written, or the disk takes no more."""
        if self._job is not None:
            return self._collect(wait_s=0.005)
        if self._store.is_broken:  # asked once: it ends with time, and with nothing wanted all that is on disk may go
            return False
        wanted = self._wanted()
        blob = self._unwritten(wanted)
        if blob is None or blob.data is None or blob.identity is None:
            # Not before all copies are written: where host memory is short, two would displace each other for ever.
            return any(self._kept.save_a_part(leaf) for leaf in wanted)
        write = functools.partial(self._store.write, blob.identity, blob.data, frozenset(blob.owners))
        self._job = _Job(blob, _in_background(write))
        return True

    def flush(self, timeout_s: float) -> bool:
        """Write all that is pending; whether it was done in time."""
        end = time.monotonic() + timeout_s
        while self.tick():
            if time.monotonic() > end:
                return False
        return True

    def close(self, timeout_s: float = 5.0) -> bool:
        """Wait for the write that is going on; whether it came to an end. One that does not is left to itself."""
        end = time.monotonic() + timeout_s
        while self._job is not None and time.monotonic() < end:
            self._collect(wait_s=0.1)
        if self._job is None:
            return True
        blob, self._job = self._job.blob, None
        what = f"{blob.num_tokens} tokens" if blob.num_tokens else "the state"
        text = "the disk did not take %s at position %d (%d bytes) within %.0f s: lost, like all that waited after it"
        logger.error(text, what, blob.start, blob.num_bytes, timeout_s)
        return False

    def _anchors(self) -> list[Node]:
        return [node for node in self._kept.parks.values() if node.is_anchor]

    def _wanted(self) -> list[Node]:
        """Nodes whose state should survive, most valuable first, as far as the disk has room for states."""
        tails = (branch.node for branch in self._kept.branches.values() if not branch.is_running)
        leaves = {*tails, *self._anchors(), *self.also}
        wanted = sorted(leaves, key=lambda node: self._kept.value(node, is_kept=False), reverse=True)
        num_bytes, spent, affordable = 0, Counter[frozenset[str]](), list[Node]()
        for node in wanted:
            needed, owners = self._kept.tiers.size_of(node.end, with_state=True), as_said(node.projects)
            if num_bytes + needed <= self._store.max_bytes and spent[owners] + needed <= self._limit(owners):
                num_bytes += needed
                spent[owners] += needed
                affordable.append(node)
        return affordable

    def _unwritten(self, wanted: list[Node]) -> Blob | None:
        """A blob to write next: KV before the states that need it. Makes room on disk at the expense of others."""
        waiting = self._kept.tiers.unwritten
        if not waiting:
            return None
        needed = {blob for leaf in wanted for node in self._lost_part(leaf) for blob in (leaf.state, node.kv)}

        def order(blob: Blob) -> tuple[bool, bool, int]:
            return blob not in needed, blob.num_tokens == 0, blob.start

        first: dict[frozenset[str], Blob] = {}  # of each project: one without room is not in the way of the others
        for blob in waiting:
            owners = frozenset(blob.owners)
            if blob.num_bytes <= self._store.max_bytes and (owners not in first or order(blob) < order(first[owners])):
                first[owners] = blob
        return next((blob for blob in sorted(first.values(), key=order) if self._make_room(blob, wanted)), None)

    def _make_room(self, blob: Blob, wanted: list[Node]) -> bool:
        """Whether there is room on disk for a blob. A project that has its share makes it among its own files."""
        while not self._store.has_room(blob.num_bytes):
            owners = as_said(blob.owners)
            has_share = self._store.bytes_of[owners] + blob.num_bytes > self._limit(owners)

            def is_useless(node: Node, only: frozenset[str] | None = owners if has_share else None) -> bool:
                is_theirs = only is None or as_said(node.projects) == only
                return self._is_on_disk(node) and node not in wanted and is_theirs

            victim = self._kept.least_useful_copy(is_useless)
            if victim is None:
                return False
            self._kept.forget_copies(victim)
        return True

    def _limit(self, owners: frozenset[str]) -> int:
        """Bytes on disk that may have these owners: all, or a share while others have files."""
        return int(self._store.max_bytes * (_MAX_SHARE if self._store.bytes_of.keys() - {owners} else 1.0))

    def _is_on_disk(self, node: Node) -> bool:
        """Whether forgetting the copies of `node` makes room on disk."""
        blob = self._kept.copy_of(node)
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
            file = None
            self._store.rest()
        self._job = None
        if file is None:
            return False
        self._store.note(job.blob, file)
        self._kept.tiers.unwritten.discard(job.blob)
        if not job.blob.num_users:  # given up meanwhile
            self._store.remove(job.blob)
        elif not self._kept.tiers.arena.has_room(self._kept.tiers.arena.max_bytes // 2):
            self._kept.tiers.arena.empty(job.blob)  # the device or the disk has it, and others need the room
        return True


def _in_background(work: Callable[[], Path | None]) -> "Future[Path | None]":
    """Run in a thread that, should the disk never answer, does not keep the process from ending."""
    result: Future[Path | None] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except Exception as error:  # the border of the thread
            result.set_exception(error)

    threading.Thread(target=run, name="qcn-disk", daemon=True).start()
    return result
