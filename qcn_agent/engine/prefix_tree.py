"""A radix tree over token paths: which paths are known, and where they part. It knows nothing of llama.cpp.

A node stands for one stretch of tokens; the path to it is all stretches from the root. What is kept of a stretch (KV)
and of its end (a recurrent state) hangs on the node as attributes that only `prefix_cache.py` reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from qcn_agent.engine.generator import FloatArray, IntArray

if TYPE_CHECKING:
    from qcn_agent.engine.arena import Blob

_WIDTH = 4  # bytes of a token


@dataclass(eq=False, slots=True)
class Node:
    """Tokens [start, end) of a path. `ends` marks the tokens after which a decode call ended.

    `holders`: sequence ids that have the KV of the whole stretch; `kv`: a copy of it outside the device.
    `park`, `live`: sequence ids with the recurrent state after `end`, resting and at the tail of an idle branch;
    `state`: a copy of it outside the device. `logits`: those after `end`, where a prompt ended.
    `sessions`, `projects`: names of the conversations that came through here, and whose they were.
    """

    start: int
    data: bytes
    ends: bytes
    parent: Node | None
    children: dict[bytes, Node] = field(default_factory=dict)
    holders: set[int] = field(default_factory=set)
    kv: Blob | None = None
    park: int | None = None
    live: set[int] = field(default_factory=set)
    state: Blob | None = None
    logits: FloatArray | None = None
    sessions: set[str] = field(default_factory=set)
    projects: set[str] = field(default_factory=set)
    is_anchor: bool = False
    last_used: int = 0
    _digest: hashlib.blake2b | None = None  # over all tokens up to `end`, which no split changes

    @property
    def end(self) -> int:
        """Position after the last token."""
        return self.start + len(self.ends)

    @property
    def tokens(self) -> IntArray:
        """The stretch, int32; read-only."""
        return np.frombuffer(self.data, np.int32)

    @property
    def has_state(self) -> bool:
        """Whether the state after `end` is kept on any tier."""
        return self.park is not None or bool(self.live) or self.state is not None

    @property
    def has_dependent_copies(self) -> bool:
        """Whether copies exist, of its state or of what follows, that are no use without one of its own KV."""
        return self.state is not None or any(child.kv is not None for child in self.children.values())

    def path(self) -> list[Node]:
        """The nodes from below the root to this one."""
        nodes = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def path_tokens(self) -> IntArray:
        """All tokens up to `end`."""
        return np.frombuffer(b"".join(node.data for node in self.path()), np.int32)

    def path_digest(self) -> hashlib.blake2b:
        """A hash of all tokens up to `end`; to go on from there, copy it. Each stretch is hashed once."""
        for node in self._not_hashed():
            digest = node.parent.path_digest().copy() if node.parent is not None else path_hash()
            digest.update(node.data)
            node._digest = digest
        assert self._digest is not None  # noqa: S101 - it is the last of those
        return self._digest

    def _not_hashed(self) -> list[Node]:
        """The end of the path whose hash is not known, the upper nodes first."""
        nodes = []
        node: Node | None = self
        while node is not None and node._digest is None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def path_ends(self) -> bytes:
        """Call ends of the whole path, a byte each token."""
        return b"".join(node.ends for node in self.path())


@dataclass(frozen=True)
class Match:
    """The path of `node` lies on the prompt, its own stretch perhaps in part; `num_tokens` tokens are known."""

    node: Node
    num_tokens: int

    @property
    def is_partial(self) -> bool:
        """Whether the last node is matched in part only."""
        return self.node.end > self.num_tokens


class PrefixTree:
    """All known paths. The root is an empty stretch that is never removed."""

    def __init__(self) -> None:
        self.root = Node(0, b"", b"", None)
        self.num_nodes = 0

    def match(self, prompt: IntArray, near: Node | None = None, near_tokens: IntArray | None = None) -> Match:
        """The longest known path that begins `prompt`.

        Where that is likely, `near` may be given with the tokens of its path: what the prompt shares with them is
        compared at once instead of node by node.
        """
        node = near or self.root
        if near_tokens is not None:
            num_shared = _shared(near_tokens[: node.end], prompt)
            while node.end > num_shared and node.parent is not None:
                node = node.parent
        return self._walk(node, np.ascontiguousarray(prompt[node.end :], np.int32).tobytes())

    def extend(self, node: Node, tokens: IntArray, ends: bytes) -> Node:
        """The node whose path is that of `node` and `tokens`. Known stretches are shared, split where paths part."""
        data = np.ascontiguousarray(tokens, np.int32).tobytes()
        match = self._walk(node, data)
        last = match.node
        if match.is_partial:
            last = self.split(last, match.num_tokens)
        known = last.end - node.end
        if known == len(ends):
            return last
        return self._add(last, data[_WIDTH * known :], ends[known:])

    def split(self, node: Node, position: int) -> Node:
        """Cut a stretch in two; returns the new upper half, which ends at `position`. `node` keeps its end."""
        count = position - node.start
        ends = node.ends[: count - 1] + b"\x01"  # whoever parts here ended a call here
        upper = Node(node.start, node.data[: _WIDTH * count], ends, node.parent)
        upper.holders, upper.last_used = set(node.holders), node.last_used
        upper.sessions, upper.projects = set(node.sessions), set(node.projects)
        if node.kv is not None:
            upper.kv = node.kv
            node.kv.num_users += 1
        assert node.parent is not None  # noqa: S101 - the root is empty and can't be cut
        node.parent.children[_key(upper.data)] = upper
        node.start, node.data, node.ends = position, node.data[_WIDTH * count :], node.ends[count:]
        node.parent = upper
        upper.children[_key(node.data)] = node
        self.num_nodes += 1
        return upper

    def remove(self, node: Node) -> None:
        """Take out a node without children."""
        assert node.parent is not None and not node.children  # noqa: S101 - the caller's duty
        del node.parent.children[_key(node.data)]
        node.parent = None
        self.num_nodes -= 1

    def nodes(self, top: Node | None = None) -> Iterator[Node]:
        """All nodes below `top` (default: the root), parents before children."""
        stack = [top or self.root]
        while stack:
            node = stack.pop()
            stack.extend(node.children.values())
            if node is not self.root:
                yield node

    def _add(self, parent: Node, data: bytes, ends: bytes) -> Node:
        node = Node(parent.end, data, ends, parent)
        parent.children[_key(data)] = node
        self.num_nodes += 1
        return node

    def _walk(self, node: Node, data: bytes) -> Match:
        """As far below `node` as `data`, the tokens after it, leads."""
        begin = 0
        while child := node.children.get(data[begin : begin + _WIDTH]):
            end = begin + len(child.data)
            if data[begin:end] != child.data:
                return Match(child, node.end + _shared(child.tokens, np.frombuffer(data[begin:end], np.int32)))
            node, begin = child, end
        return Match(node, node.end)


def path_hash() -> hashlib.blake2b:
    """The hash of the empty path: 16 bytes, which name a path in files."""
    return hashlib.blake2b(digest_size=16)


def _key(data: bytes) -> bytes:
    return data[:_WIDTH]


def _shared(a: IntArray, b: IntArray) -> int:
    """How many tokens two stretches have in common at their beginning."""
    n = min(len(a), len(b))
    differs = a[:n] != b[:n]
    first = int(differs.argmax()) if n else 0
    return first if n and differs[first] else n
