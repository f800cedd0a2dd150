"""The files that may go into a pack: read once, cut into chunks, each chunk with its value."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.context.chunks import Chunk, chunks_of
from qcn_agent.context.committed import IsChanged
from qcn_agent.context.pack import Tier
from qcn_agent.context.ranking import RankedFile, RankedSymbol, Ranking
from qcn_agent.context.signatures import signature_order
from qcn_agent.index.files import read_file
from qcn_agent.index.reader import IndexReader
from qcn_agent.index.record import Depth, content_hash

NUM_BEST, NUM_LIKELY = 3, 10
MIN_FILES = 20
BYTES_A_TOKEN = 24  # so many bytes of ranked files are looked at for each token of the budget
UNRANKED_BYTES = 6  # the same where what is ranked is less than that
_RANK_FALL = 1.5  # the right file is at rank r with a probability of about 0.36 / r ** 1.5 (research/agents.md 6.2)
_SYMBOL_SHARE = 0.5  # what the ranked symbols of a file say, against its size


@dataclass(frozen=True)
class Source:
    """A ranked file (0 is the best). `values[i]` is the worth of a byte of `chunks[i]`, comparable across files."""

    path: str
    rank: int
    tier: Tier
    chunks: tuple[Chunk, ...]
    values: tuple[float, ...]


def read_sources(
    index: IndexReader, workspace: Path, ranking: Ranking, budget: int, is_changed: IsChanged
) -> list[Source]:
    """The best-ranked files that are worth a look for `budget` tokens, best first.

    `is_changed(path, contents)` says whether a file has uncommitted changes. What is binary, minified, too large, gone
    or reached through a link is passed over.
    """
    return list(_sources(index, workspace.resolve(), ranking, budget, is_changed))


def _sources(index: IndexReader, root: Path, ranking: Ranking, budget: int, is_changed: IsChanged) -> Iterator[Source]:
    num_bytes = 0
    for rank, ranked in enumerate(_ordered(index, ranking)):
        if rank >= MIN_FILES and num_bytes > (BYTES_A_TOKEN if rank < len(ranking.files) else UNRANKED_BYTES) * budget:
            return
        file = index.file_at(ranked.path)
        contents = _contents(root, ranked.path)
        if file is None or file.depth is Depth.PATH or not contents:
            continue
        num_bytes += len(contents)
        is_known = file.content_hash == content_hash(contents)
        chunks = chunks_of(contents.decode("utf-8", "replace"), index.definitions_of(file.file_id) if is_known else ())
        tier = Tier.CHANGED if is_changed(ranked.path, contents) else _tier(rank)
        yield Source(ranked.path, rank, tier, chunks, values_of(chunks, ranked, rank))


def _ordered(index: IndexReader, ranking: Ranking) -> Iterator[RankedFile]:
    """The ranked files, and behind them all others that have definitions."""
    yield from ranking.files
    known = {file.path for file in ranking.files}
    for file in signature_order(index.files()):
        if file.path not in known:
            yield RankedFile(file.file_id, file.path, 0.0, (), ())


def _tier(rank: int) -> Tier:
    return Tier.BEST if rank < NUM_BEST else Tier.LIKELY if rank < NUM_LIKELY else Tier.RELATED


def _contents(root: Path, path: str) -> bytes | None:
    place = root / path
    if os.path.realpath(place) != os.fspath(place):
        return None
    found = read_file(place)
    return found[1] if found else None


def values_of(chunks: Sequence[Chunk], ranked: RankedFile, rank: int) -> tuple[float, ...]:
    """The expected gain of each chunk a byte: the file's, spread by size and towards the symbols that were ranked.

    Files of neighbouring ranks are worth the same (1, 2, 3, 4, 5-6, 7-8, 9-12, …), so that a small edit, which may
    swap two, moves nothing.
    """
    sizes = [len(chunk.text) for chunk in chunks]
    hits = [_hits(chunk, ranked.symbols) for chunk in chunks]
    worth, all_hits, all_bytes = _rank_value(rank), sum(hits), sum(sizes)
    by_symbol = _SYMBOL_SHARE if all_hits else 0.0
    return tuple(
        worth * ((1 - by_symbol) / all_bytes + by_symbol * hit / (all_hits or 1.0) / size)
        for hit, size in zip(hits, sizes, strict=True)
    )


def _rank_value(rank: int) -> float:
    place = rank + 1
    width = 2 ** max(0, math.ceil(math.log2(place)) - 2)  # of the class: 1, 1, 1, 1, 2, 2, 4, 4, …
    return float((-(-place // width) * width) ** -_RANK_FALL)


def _hits(chunk: Chunk, symbols: Sequence[RankedSymbol]) -> float:
    """What the symbols, the best of which weighs most, have in the chunk."""
    total = 0.0
    for place, symbol in enumerate(symbols):
        shared = min(chunk.last, symbol.end_line) - max(chunk.first, symbol.start_line) + 1
        if shared > 0:
            total += shared / (symbol.end_line - symbol.start_line + 1) / (place + 1)
    return total
