"""Which token paths are known, where they part, and that nodes keep their identity."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.engine.arena import Arena
from qcn_agent.engine.generator import IntArray
from qcn_agent.engine.prefix_tree import Node, PrefixTree

PATHS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12)


def _array(tokens: list[int]) -> IntArray:
    return np.array(tokens, np.int32)


def _insert(tree: PrefixTree, tokens: list[int]) -> Node:
    return tree.extend(tree.root, _array(tokens), bytes(len(tokens) - 1) + b"\x01")


def _common(a: list[int], b: list[int]) -> int:
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    return length


@given(PATHS, st.lists(st.integers(0, 2), max_size=15))
def test_a_match_is_as_long_as_the_best_of_all_paths(paths: list[list[int]], prompt: list[int]) -> None:
    """Equal to comparing the prompt with each path token by token."""
    tree = PrefixTree()
    for path in paths:
        _insert(tree, path)
    match = tree.match(_array(prompt))
    assert match.num_tokens == max(_common(path, prompt) for path in paths)
    assert match.node.path_tokens().tolist()[: match.num_tokens] == prompt[: match.num_tokens]
    assert match.node.start < match.num_tokens <= match.node.end or match.node is tree.root


@given(PATHS, st.lists(st.integers(0, 2), max_size=15), st.integers(0, 11), st.lists(st.integers(0, 2), max_size=3))
def test_it_does_not_matter_where_a_match_begins(
    paths: list[list[int]], prompt: list[int], index: int, beyond: list[int]
) -> None:
    """From a node nearby, whose tokens and some more are given, it is the same as from the root."""
    tree = PrefixTree()
    near = [_insert(tree, path) for path in paths][index % len(paths)]
    tokens = _array([*near.path_tokens().tolist(), *beyond])
    assert tree.match(_array(prompt), near, tokens) == tree.match(_array(prompt))


@given(PATHS)
def test_every_path_is_found_whole_and_counted_once(paths: list[list[int]]) -> None:
    """Each inserted path ends at its node; stretches are shared, so tokens add up to those of a trie."""
    tree = PrefixTree()
    nodes = [_insert(tree, path) for path in paths]
    for node, path in zip(nodes, paths, strict=True):
        assert node.path_tokens().tolist() == path
        assert node.end == len(path)
    prefixes = {tuple(path[:length]) for path in paths for length in range(1, len(path) + 1)}
    assert sum(node.end - node.start for node in tree.nodes()) == len(prefixes)
    assert tree.num_nodes == len(list(tree.nodes()))


def test_a_split_keeps_the_lower_node_s_identity_and_shares_what_it_has() -> None:
    """Its end, its state and its children stay; holders and the copy of the KV belong to both halves."""
    tree, arena = PrefixTree(), Arena(1000)
    node = _insert(tree, [1, 2, 3, 4])
    node.holders, node.park, node.kv = {5}, 7, arena.put(np.zeros(8, np.uint8), 0, 4)
    below = tree.extend(node, _array([9]), b"\x01")
    upper = tree.split(node, 3)
    assert (upper.start, upper.end, node.start, node.end) == (0, 3, 3, 4)
    assert (upper.holders, node.holders, upper.park, node.park) == ({5}, {5}, None, 7)
    assert upper.kv is node.kv
    assert node.kv.num_users == 2
    assert below.path() == [upper, node, below]
    assert upper.ends == b"\x00\x00\x01"


def test_known_stretches_are_not_stored_again() -> None:
    """Extending along a known path returns its nodes; stopping inside one splits it."""
    tree = PrefixTree()
    first = _insert(tree, [1, 2, 3, 4])
    assert _insert(tree, [1, 2, 3, 4]) is first
    inner = _insert(tree, [1, 2])
    assert first.parent is inner
    assert tree.num_nodes == 2


def test_removed_nodes_are_forgotten() -> None:
    """A leaf can go; its path is then known only as far as the rest reaches."""
    tree = PrefixTree()
    _insert(tree, [1, 2])
    leaf = _insert(tree, [1, 2, 3])
    tree.remove(leaf)
    assert tree.match(_array([1, 2, 3])).num_tokens == 2
    assert leaf.parent is None


def test_a_node_with_children_is_not_removed() -> None:
    """That would lose what lies below."""
    tree = PrefixTree()
    inner = _insert(tree, [1, 2])
    _insert(tree, [1, 2, 3])
    with pytest.raises(AssertionError):
        tree.remove(inner)


def test_parents_come_before_children() -> None:
    """Whoever walks backwards may remove as it goes."""
    tree = PrefixTree()
    for path in ([1, 2, 3], [1, 2, 4], [1, 5], [6]):
        _insert(tree, path)
    order = list(tree.nodes())
    assert all(order.index(node.parent) < order.index(node) for node in order if node.parent in order)


@given(PATHS)
def test_a_path_has_one_name_however_it_was_cut(paths: list[list[int]]) -> None:
    """That of all its tokens, hashed before or after the splits."""
    tree = PrefixTree()
    for number, path in enumerate(paths):
        node = _insert(tree, path)
        if number % 2:
            node.path_digest()
    for node in [tree.root, *tree.nodes()]:
        expected = hashlib.blake2b(node.path_tokens().tobytes(), digest_size=16).hexdigest()
        assert node.path_digest().hexdigest() == expected


def test_each_stretch_is_hashed_once() -> None:
    """To name the end of a path costs the stretch that is new, not the path; a very deep one is no trouble."""
    tree = PrefixTree()
    node = tree.root
    for token in range(3000):
        node = tree.extend(node, _array([token]), b"\x01")
    assert len(node._not_hashed()) == 3001
    node.path_digest()
    leaf = tree.extend(node, _array([7, 8]), b"\x00\x01")
    assert leaf._not_hashed() == [leaf]
    leaf.path_digest()
    upper = tree.split(leaf, 3001)
    assert (leaf._not_hashed(), upper._not_hashed()) == ([], [upper])


def test_a_split_keeps_whose_both_halves_are() -> None:
    """Later owners of the upper half are not those of the lower one."""
    tree = PrefixTree()
    node = _insert(tree, [1, 2, 3])
    node.projects.add("a")
    upper = tree.split(node, 2)
    upper.projects.add("b")
    assert (upper.projects, node.projects) == ({"a", "b"}, {"a"})
