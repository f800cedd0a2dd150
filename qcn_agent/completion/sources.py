"""What the workspace's index knows for a cursor: heads of definitions that are used near it, and similar code."""

import asyncio
from collections.abc import Sequence

from qcn_agent.completion.prompt import ContextBlock
from qcn_agent.completion.values import Snapshot, is_code
from qcn_agent.index.index import Index
from qcn_agent.index.tags import Definition
from qcn_agent.index.words import identifiers_of

_NEAR_CHARS = 2_000
_MAX_NAMES = 12
_MAX_FILES_A_NAME = 2  # a name that many files define says little
_MAX_SIMILAR = 3


class IndexSources:
    """`FindBlocks` over an index. Questions are asked in a thread that waits for SQLite, never on the loop."""

    def __init__(self, index: Index) -> None:
        self._index = index

    async def __call__(self, snapshot: Snapshot) -> Sequence[ContextBlock]:
        """Definitions first, then similar stretches; nothing of the file itself."""
        return await asyncio.to_thread(self._find, snapshot)

    def _find(self, snapshot: Snapshot) -> list[ContextBlock]:
        if not is_code(snapshot.grammar):
            return []
        near = snapshot.before[-_NEAR_CHARS:] + snapshot.after[:_NEAR_CHARS]
        similar = self._index.similar(near, snapshot.grammar, _MAX_SIMILAR, exclude=snapshot.path)
        chunks = [ContextBlock(one.path, one.text, one.start_line) for one in similar]
        return [*self._definitions(snapshot, near), *chunks]

    def _definitions(self, snapshot: Snapshot, near: str) -> list[ContextBlock]:
        """The heads of what the nearest names mean, one block a definition; of names that few files define."""
        found: list[ContextBlock] = []
        for name in list(reversed(list(identifiers_of(near))))[: 4 * _MAX_NAMES]:
            defined = self._index.definitions_named(name, _MAX_FILES_A_NAME + 1)
            if 0 < len(defined) <= _MAX_FILES_A_NAME:
                found += [
                    ContextBlock(one.path, _head(one.definition), one.definition.start_line)
                    for one in defined
                    if one.path != snapshot.path
                ]
            if len(found) >= _MAX_NAMES:
                break
        return found


def _head(one: Definition) -> str:
    """The signature, and the first line of what documents it."""
    return f"{one.signature}\n    {one.doc}" if one.doc else one.signature
