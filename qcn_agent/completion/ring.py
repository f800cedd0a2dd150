"""Context from other places, put together while nobody waits, in an order that keeps the cache.

What a prompt gets is a tuple that changes only when the user has paused: a new epoch. Within it blocks are ordered by
path, then by age, so that a block that comes or goes leaves those before it as they were.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from qcn_agent.completion.edits import EditLog
from qcn_agent.completion.prompt import ContextBlock
from qcn_agent.completion.values import Snapshot
from qcn_agent.index.words import identifiers_of

IDLE_S = 1.5
_VISITED = 4
_CHUNK_LINES = 64
_NEAR_LINES = 32
_TOO_NEAR = 0.5  # Jaccard index of identifiers, with what the cursor stands in: the model would repeat it
_SAME = 0.9  # with a block that is there already
_MAX_BLOCKS = 12

FindBlocks = Callable[[Snapshot], Awaitable[Sequence[ContextBlock]]]


@dataclass(frozen=True)
class Context:
    """The blocks of one epoch, in their order."""

    epoch: int = 0
    blocks: tuple[ContextBlock, ...] = ()

    def without(self, path: str) -> tuple[ContextBlock, ...]:
        """Those of other files."""
        return tuple(block for block in self.blocks if block.path != path)


class ContextRing:
    """Recent edits, places visited, and what `find` (definitions, similar code) gives for the cursor.

    `note_*` are cheap and called as things happen; `refresh` when `IDLE_S` have passed without any.
    """

    def __init__(self, find: FindBlocks | None = None) -> None:
        self.context = Context()
        self._find = find
        self._edits = EditLog()
        self._visited: dict[tuple[str, int], ContextBlock] = {}
        self._clock = 0
        self._latest_s = float("-inf")

    def note_edit(self, path: str, old: str, new: str, line: int, now_s: float) -> None:
        """A document changed at `line`."""
        self._latest_s = now_s
        self._edits.note(path, old, new, line, now_s)

    def note_visit(self, path: str, text: str, line: int, now_s: float) -> None:
        """The cursor came to `line` of a document, was there when it was saved, or left it."""
        self._latest_s = now_s
        self._clock += 1
        lines = text.split("\n")
        stretch = line // _CHUNK_LINES
        first = max(0, min(stretch * _CHUNK_LINES, len(lines) - 1))
        chunk = "\n".join(lines[first : first + _CHUNK_LINES])
        self._visited.pop((path, stretch), None)
        if chunk.strip():
            self._visited[path, stretch] = ContextBlock(path, chunk, self._clock)
        while len(self._visited) > _VISITED:
            del self._visited[next(iter(self._visited))]

    def is_due(self, now_s: float) -> bool:
        """Whether the user has paused long enough for a new epoch."""
        return now_s - self._latest_s >= IDLE_S

    async def refresh(self, snapshot: Snapshot, now_s: float) -> bool:
        """Make the context anew for the cursor's surroundings. Whether it is another one: then a new epoch has begun.

        Nothing happens while the user works, nor when he went on meanwhile.
        """
        if not self.is_due(now_s):
            return False
        self._edits.settle(now_s)
        since = self._latest_s
        found = list(await self._find(snapshot)) if self._find else []
        if self._latest_s != since:
            return False
        edits = [ContextBlock(edit.path, edit.diff, edit.age) for edit in self._edits.edits]
        chunks = _worth_showing([*found, *self._visited.values()], snapshot)
        blocks = ordered([*edits, *chunks][:_MAX_BLOCKS])
        if blocks == self.context.blocks:
            return False
        self.context = Context(self.context.epoch + 1, blocks)
        return True


def ordered(blocks: Sequence[ContextBlock]) -> tuple[ContextBlock, ...]:
    """By path, then by age: the same set has one order."""
    return tuple(sorted(blocks, key=lambda block: (block.path, block.age, block.text)))


def _worth_showing(chunks: Sequence[ContextBlock], snapshot: Snapshot) -> list[ContextBlock]:
    """Without what is about the cursor's own surroundings, and nothing twice."""
    here = _names("\n".join([*snapshot.before.split("\n")[-_NEAR_LINES:], *snapshot.after.split("\n")[:_NEAR_LINES]]))
    kept: list[tuple[frozenset[str], ContextBlock]] = []
    for chunk in chunks:
        names = _names(chunk.text)
        if _jaccard(names, here) <= _TOO_NEAR and all(_jaccard(names, known) <= _SAME for known, _ in kept):
            kept.append((names, chunk))
    return [chunk for _, chunk in kept]


def _names(text: str) -> frozenset[str]:
    return frozenset(identifiers_of(text))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / (len(one | other) or 1)
