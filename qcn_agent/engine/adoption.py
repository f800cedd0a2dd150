"""What is on disk becomes the first content of a cache."""

from bisect import bisect_right

import numpy as np

from qcn_agent.engine.arena import Blob, Identity, path_keys
from qcn_agent.engine.disk_store import DiskStore, StoredBlob
from qcn_agent.engine.prefix_tree import Node
from qcn_agent.engine.residency import Residency


def adopt(kept: Residency, store: DiskStore) -> None:
    """Hang what is on disk into the tree. Files that nothing leads to are removed."""
    stored = store.load()
    places: dict[str, tuple[Node, int]] = {kept.tree.root.path_digest().hexdigest(): (kept.tree.root, 0)}
    joints = sorted({position for found in stored for position in (found.identity.start, found.identity.end)})
    for found in stored:
        identity, place = found.identity, places.get(found.identity.before)
        blob = Blob(None, found.num_bytes, identity.start, identity.end - identity.start, found.file, num_users=0)
        if place is not None and identity.is_state:
            _adopt_state(kept, found, blob, _node_at(kept, *place))
        elif place is not None:
            top = _node_at(kept, *place)
            leaf = _adopt_kv(kept, found, blob, top)
            inside = joints[bisect_right(joints, identity.start) : bisect_right(joints, identity.end)]
            for position, key in zip(inside, _keys(top, identity, inside), strict=True):
                places.setdefault(key, (leaf, position))
        if not blob.num_users:
            store.remove(blob)
    for node in reversed(list(kept.tree.nodes())):
        kept.prune(node)
    _tell_owners(kept, store)


def _keys(top: Node, identity: Identity, positions: list[int]) -> list[str]:
    """The names of the paths through `top` and the stretch after it that end at these positions."""
    tokens = np.frombuffer(identity.tokens, np.int32)
    return path_keys(top.path_digest(), tokens, [position - identity.start for position in positions])


def _tell_owners(kept: Residency, store: DiskStore) -> None:
    """Whoever owns a path owns what leads to it; a kill may have come before the names of the files said so."""
    for node in reversed(list(kept.tree.nodes())):
        if node.parent is not None:
            node.parent.projects |= node.projects
    for node in kept.stored:
        for blob in (node.kv, node.state):
            if blob is not None:
                store.rename(blob)


def _adopt_state(kept: Residency, found: StoredBlob, blob: Blob, node: Node) -> None:
    if node.state is None and node is not kept.tree.root:
        node.state, blob.num_users = blob, 1
        kept.note_stored(node)
    node.projects |= found.owners
    blob.owners = node.projects


def _adopt_kv(kept: Residency, found: StoredBlob, blob: Blob, top: Node) -> Node:
    identity = found.identity
    leaf = kept.tree.extend(top, np.frombuffer(identity.tokens, np.int32), identity.ends)
    for node in leaf.path()[len(top.path()) :]:
        if node.kv is None:
            node.kv = blob
            blob.num_users += 1
        kept.note_stored(node)
    leaf.projects |= found.owners
    blob.owners = leaf.projects
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
