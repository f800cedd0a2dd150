"""Where copies lie when they are not on the device, and how they come back.

`Tiers` moves bytes and keeps the account. What is worth keeping is `PrefixCache`'s business.
"""

import logging
from collections.abc import Iterator, Sequence

from qcn_agent.engine.arena import Arena, Blob, Identity
from qcn_agent.engine.backend import Backend, BlobLostError, Bytes
from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.origin import Origin, Tier
from qcn_agent.engine.prefix_tree import Node

logger = logging.getLogger(__name__)

_HEADER_BYTES = 1024  # of one serialised stretch: its layers' sizes and its alignment


class Tiers:
    """`via` is a sequence id that nothing else uses; KV stretches pass through it."""

    def __init__(self, backend: Backend, arena: Arena, store: DiskStore | None, via: int) -> None:
        self.arena = arena
        self.store = store
        self.unwritten: set[Blob] = set()  # copies that have no file yet, where there is a disk
        self._backend = backend
        self._via = via
        self._state_bytes = backend.info.state_bytes
        self._kv_bytes_per_token = backend.info.kv_bytes_per_token
        self.num_restored_host_tokens = 0
        self.num_restored_disk_tokens = 0

    def size_of(self, num_tokens: int, *, with_state: bool, num_stretches: int = 1) -> int:
        """Bytes that copies of so many tokens in so many KV stretches, and of a state, will have at most, about."""
        kv_bytes = int(num_tokens * self._kv_bytes_per_token) + (_HEADER_BYTES * num_stretches if num_tokens else 0)
        return kv_bytes + (self._state_bytes if with_state else 0)

    def save_state(self, node: Node, src: int) -> None:
        """Copy the state after `node`, which `src` holds, to host memory."""
        if node.state is None and self._backend.needs_snapshots:
            node.state = self.arena.put(self._backend.export_state(src), node.end, 0)
            node.state.owners = node.projects
            if self.store is not None:
                key = node.path_digest().hexdigest()
                node.state.identity = Identity(node.end, node.end, key, key)
                self.unwritten.add(node.state)

    def save_kv(self, node: Node, src: int) -> None:
        """Copy the KV of `node`, which `src` holds, to host memory."""
        if node.kv is None:
            num_tokens = node.end - node.start
            data = self._backend.export_kv(src, node.start, node.end, self._via)
            node.kv = self.arena.put(data, node.start, num_tokens)
            node.kv.owners = node.projects
            if self.store is not None and node.parent is not None:
                before, after = (above.path_digest().hexdigest() for above in (node.parent, node))
                node.kv.identity = Identity(node.start, node.end, before, after, node.data, node.ends)
                self.unwritten.add(node.kv)

    def own(self, node: Node, project: str, src: int) -> None:
        """`project` came through `node`, whose KV `src` holds: what is on disk of it belongs to both from here on.

        A copy of KV that goes on into what is not theirs stays as it is, and the node gets one of its own: so what a
        project alone has read can be deleted without harm to others. Without room for that it depends on them.
        """
        if project in node.projects:
            return
        node.projects.add(project)
        if self.store is None:
            return
        needed = self.size_of(node.end - node.start, with_state=False)
        if node.kv is not None and project not in node.kv.owners and self.arena.has_room(needed):
            self.forget_kv(node)
            self.save_kv(node, src)
        for blob in (node.kv, node.state):
            if blob is not None:
                self.store.rename(blob)

    def load_kv(self, nodes: Sequence[Node], dst: int) -> Origin:
        """Give `dst` the KV of consecutive nodes from their copies. Raises BlobLostError, NoRoomError."""
        num_tokens = {Tier.HOST: 0, Tier.DISK: 0}
        for blob, begin, end in _stretches(nodes):
            data = self._read(blob)
            try:
                self._backend.import_kv(data, self._via)
                self._backend.share_kv(self._via, dst, begin, end)
            finally:
                self._backend.drop(self._via)
            num_tokens[tier_of(blob)] += end - begin
        self.num_restored_host_tokens += num_tokens[Tier.HOST]
        self.num_restored_disk_tokens += num_tokens[Tier.DISK]
        return Origin(0, num_tokens[Tier.HOST], num_tokens[Tier.DISK])

    def load_state(self, node: Node, dst: int) -> Tier:
        """Give `dst` the state after `node` from its copy. Raises BlobLostError."""
        if node.state is None:
            raise BlobLostError("no copy of this state is left")
        self._backend.import_state(self._read(node.state), dst)
        return tier_of(node.state)

    def forget_state(self, node: Node) -> None:
        """Give up the copy of the state, wherever it is."""
        if node.state is not None:
            self._release(node.state)
            node.state = None

    def forget_kv(self, node: Node) -> None:
        """Give up the copy of the KV, wherever it is."""
        if node.kv is not None:
            self._release(node.kv)
            node.kv = None

    def _release(self, blob: Blob) -> None:
        if self.arena.release(blob) and self.store is not None:
            self.unwritten.discard(blob)
            self.store.remove(blob)

    def _read(self, blob: Blob) -> Bytes:
        if blob.data is not None:
            return blob.data
        try:
            if self.store is None or blob.file is None:
                raise BlobLostError("there is no copy of it any more")
            return self.store.read(blob)
        except BlobLostError:
            blob.is_lost = True
            raise


def tier_of(blob: Blob) -> Tier:
    """Where a copy would be read from now."""
    return Tier.DISK if blob.data is None else Tier.HOST


def _stretches(nodes: Sequence[Node]) -> Iterator[tuple[Blob, int, int]]:
    """Runs of nodes that share one blob are read once: (blob, first position, position after the last)."""
    index = 0
    while index < len(nodes):
        blob, first = nodes[index].kv, nodes[index]
        if blob is None:
            raise BlobLostError(f"no copy of the KV at {first.start} is left")
        while index + 1 < len(nodes) and nodes[index + 1].kv is blob:
            index += 1
        yield blob, first.start, nodes[index].end
        index += 1
