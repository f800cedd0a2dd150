"""Which chunks of which files go into the issue part, so that it never has one token too many."""

import itertools
import math
from collections.abc import Iterator, Sequence

from qcn_agent.context.pack import Part, Tier
from qcn_agent.context.sources import Source
from qcn_agent.context.tokenizer import Tokenizer
from qcn_agent.engine.generator import IntArray
from qcn_prompts import framing

CLASSES_AN_OCTAVE = 8  # chunks whose values differ by less than a tenth go in together or not at all
_MAX_TRIES = 600  # chunks that are tried for the last bit of the budget
_BATCH = 48
_FULL_SHARE = 0.002
_MIN_LEFT = 12  # tokens that no frame and line would fit into

Address = tuple[int, int]  # which source, which of its chunks


class Selection:
    """Chunks taken so far, and what they cost with all that stands around them.

    A file costs its frame once, and a gap mark where it is left out between, before or after taken chunks.
    """

    def __init__(self, sources: Sequence[Source], frames: Sequence[tuple[IntArray, IntArray]], gap: IntArray) -> None:
        self._sources, self._frames, self._gap = sources, frames, gap
        self._taken: dict[int, dict[int, IntArray]] = {}
        self.num_tokens = 0

    def cost(self, address: Address, num_tokens: int) -> int:
        """What taking a chunk of so many tokens adds."""
        number, place = address
        taken, last = self._taken.get(number, {}), len(self._sources[number].chunks) - 1
        gaps = (place > 0 and place - 1 not in taken) + (place < last and place + 1 not in taken)
        frame = 0 if taken else sum(map(len, self._frames[number]))
        return num_tokens + frame + len(self._gap) * (gaps - bool(taken))

    def take(self, address: Address, tokens: IntArray) -> None:
        """Have it in."""
        self.num_tokens += self.cost(address, len(tokens))
        self._taken.setdefault(address[0], {})[address[1]] = tokens

    def drop(self, addresses: Sequence[Address]) -> None:
        """Take back what was just taken."""
        for address in reversed(addresses):
            tokens = self._taken[address[0]].pop(address[1])
            if not self._taken[address[0]]:
                del self._taken[address[0]]
            self.num_tokens -= self.cost(address, len(tokens))

    def parts(self, tier: Tier | None = None) -> list[Part]:
        """A part for each file, by tier and path; all of one tier where that is given."""
        order = list(Tier)
        made = [self._part(number, taken, tier) for number, taken in self._taken.items()]
        return sorted(made, key=lambda part: (order.index(part.tier), part.path))

    def _part(self, number: int, taken: dict[int, IntArray], tier: Tier | None) -> Part:
        source, (opening, closing) = self._sources[number], self._frames[number]
        arrays, lines, expected = [opening], list[tuple[int, int]](), 0
        for place in sorted(taken):
            chunk = source.chunks[place]
            if place != expected:
                arrays.append(self._gap)
            if lines and lines[-1][1] == chunk.first - 1 and place == expected:
                lines[-1] = (lines[-1][0], chunk.last)
            else:
                lines.append((chunk.first, chunk.last))
            arrays.append(taken[place])
            expected = place + 1
        arrays += [self._gap] if expected < len(source.chunks) else []
        return Part(tier or source.tier, source.path, (*arrays, closing), tuple(lines), source.rank)


def select(sources: Sequence[Source], tokenizer: Tokenizer, budget: int) -> list[Part]:
    """The issue part's files, at most `budget` tokens.

    Chunks go in by value, whole classes of them while they fit: so an edit, which changes the size of one a little,
    seldom changes which others are in. What then is left of the budget gets what fits, at the end (Tier.MORE), the
    last bit of it as the first lines of a chunk.
    """
    texts = [text for source in sources for text in framing.file(source.path)]
    encoded = tokenizer.encode([*texts, framing.GAP])
    frames = list(zip(encoded[:-1:2], encoded[1::2], strict=True)) if sources else []
    core = Selection(sources, frames, encoded[-1])
    rest = _take_classes(core, sources, tokenizer, budget)
    more = Selection(sources, frames, encoded[-1])
    room = budget - core.num_tokens
    too_large = _fill(more, sources, tokenizer, rest, room)
    beginnings = (_beginning(sources, frames, encoded[-1], tokenizer, one, room - more.num_tokens) for one in too_large)
    last = next((part for part in beginnings if part), None)
    return [*core.parts(), *more.parts(Tier.MORE), *([last] if last else [])]


def _classes(sources: Sequence[Source]) -> Iterator[list[Address]]:
    """Addresses of chunks of about the same value, the most valuable first; inside by value, path and place."""

    def level(item: tuple[float, Address]) -> int:
        return math.floor(CLASSES_AN_OCTAVE * math.log2(item[0]))

    found = [
        (value, (number, place))
        for number, source in enumerate(sources)
        for place, value in enumerate(source.values)
        if value > 0
    ]
    found.sort(key=lambda item: (-item[0], sources[item[1][0]].path, item[1][1]))
    for _level, group in itertools.groupby(found, level):
        yield [address for _value, address in group]


def _texts(sources: Sequence[Source], addresses: Sequence[Address]) -> list[str]:
    return [sources[number].chunks[place].text for number, place in addresses]


def _take_classes(
    core: Selection, sources: Sequence[Source], tokenizer: Tokenizer, budget: int
) -> Iterator[list[Address]]:
    """Take whole classes until one does not fit; returns what was not taken, in order."""
    classes = _classes(sources)
    for group in classes:
        taken: list[Address] = []
        for address, tokens in zip(group, tokenizer.encode(_texts(sources, group)), strict=True):
            core.take(address, tokens)
            taken.append(address)
        if core.num_tokens > budget:
            core.drop(taken)
            return itertools.chain([group], classes)
    return iter(())


def _fill(
    more: Selection, sources: Sequence[Source], tokenizer: Tokenizer, rest: Iterator[list[Address]], budget: int
) -> list[Address]:
    """Take the next chunks that fit; returns those that did not, as long as there is something left to fill."""
    too_large: list[Address] = []
    tries = itertools.islice(itertools.chain.from_iterable(rest), _MAX_TRIES)
    while batch := list(itertools.islice(tries, _BATCH)):
        for address, tokens in zip(batch, tokenizer.encode(_texts(sources, batch)), strict=True):
            if more.num_tokens + more.cost(address, len(tokens)) <= budget:
                more.take(address, tokens)
            else:
                too_large.append(address)
        if budget - more.num_tokens <= max(_MIN_LEFT, _FULL_SHARE * budget):
            return []
    return too_large


def _beginning(
    sources: Sequence[Source],
    frames: Sequence[tuple[IntArray, IntArray]],
    gap: IntArray,
    tokenizer: Tokenizer,
    address: Address,
    budget: int,
) -> Part | None:
    """As many of the first lines of a chunk as fit, as a part of its own."""
    number, place = address
    source, (opening, closing) = sources[number], frames[number]
    before, after = [opening, *([gap] if place else [])], [gap, closing]
    room = budget - sum(map(len, [*before, *after]))
    first, lines = source.chunks[place].first, source.chunks[place].text[:-1].split("\n")
    fitting, too_many = 0, len(lines)
    tokens: IntArray | None = None
    while room > 0 and too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        (tried,) = tokenizer.encode(["\n".join(lines[:middle]) + "\n"])
        if len(tried) <= room:
            fitting, tokens = middle, tried
        else:
            too_many = middle
    if tokens is None:
        return None
    return Part(Tier.MORE, source.path, (*before, tokens, *after), ((first, first + fitting - 1),), source.rank)
