"""Whether the books of the cache balance. Run when idle, and after each step of the property tests."""

from collections.abc import Callable

from qcn_agent.engine.backend import Backend
from qcn_agent.engine.prefix_tree import Node
from qcn_agent.engine.residency import Branch, Residency
from qcn_agent.errors import EngineError

_NODES_AT_A_TIME = 256  # some 0.2 ms


def check_integrity(kept: Residency, backend: Backend, is_interrupted: Callable[[], bool] = lambda: False) -> bool:
    """Raise EngineError when the books do not balance. Looks at every node.

    `is_interrupted` is asked now and then whether somebody waits; then the rest is left out, and the result is False.
    """
    ids = [*kept.branches, *kept.parks, *kept.free]
    _require(sorted(ids) == list(range(kept.num_ids)), f"sequence ids are lost or shared: {sorted(ids)}")
    for branch in kept.branches.values():
        _check_branch(branch, backend)
    num_nodes, num_gaps, stored = 0, 0, set[Node]()
    for node in kept.tree.nodes():
        if num_nodes % _NODES_AT_A_TIME == 0 and is_interrupted():
            return False
        num_nodes += 1
        _check_node(node, kept)
        if node.kv is not None or node.state is not None:
            stored.add(node)
        num_gaps += node.kv is None and node.has_dependent_copies
    _require(num_nodes == kept.tree.num_nodes, "nodes are miscounted")
    _check_copies(stored, kept)
    kept.has_gaps = num_gaps > 0  # those of lost files may be filled by now
    return True


def _check_copies(stored: set[Node], kept: Residency) -> None:
    _require(stored == kept.stored, "copies are unaccounted for")
    _require({node for node in stored if node.state is not None} == kept.with_state, "states are unaccounted for")
    blobs = {blob for node in stored for blob in (node.kv, node.state) if blob is not None and blob.data is not None}
    num_bytes = sum(blob.num_bytes for blob in blobs)
    _require(num_bytes == kept.tiers.arena.num_bytes, "host bytes do not add up")
    unwritten = {blob for blob in blobs if blob.identity is not None and blob.file is None}
    _require(unwritten == kept.tiers.unwritten, "what is still to be written is not known")


def _check_branch(branch: Branch, backend: Backend) -> None:
    name, node = f"branch {branch.seq_id}", branch.node
    _require(backend.length(branch.seq_id) == len(branch.ledger), f"{name} and its ledger differ in length")
    on_path = node.path_tokens().tobytes() == branch.ledger.tokens[: node.end].tobytes()
    _require(on_path, f"{name} is not on its path")
    _require(all(branch.seq_id in above.holders for above in node.path()), f"{name} does not hold its path")
    _require(branch.is_running or branch.seq_id in node.live, f"the tail of {name} is not offered")


def _check_node(node: Node, kept: Residency) -> None:
    parent, what = node.parent, f"the node at {node.start}"
    is_linked = parent is not None and parent.children.get(node.data[:4]) is node and parent.end == node.start
    _require(is_linked, f"{what} hangs loose")
    is_owned = node.projects <= parent.projects if parent is not None and parent.parent is not None else True
    _require(is_owned, f"somebody who came through {what} did not come through what leads to it")
    is_whole = node.kv is not None or not node.has_dependent_copies or kept.has_gaps
    _require(is_whole, f"the KV of {what} has no copy, but something below has")
    _require(bool(node.holders) or node.kv is not None, f"nobody has the KV of {what}")
    _require(node.park is None or kept.parks.get(node.park) is node, f"the park of {what} is not known")
    _require(node.holders | node.live <= kept.branches.keys() | kept.parks.keys(), f"a holder of {what} is gone")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise EngineError(f"cache books: {otherwise}")
