"""Which chunks go in; the count is exact."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.context.chunks import Chunk
from qcn_agent.context.pack import Part, Tier
from qcn_agent.context.selection import Selection, select
from qcn_agent.context.sources import Source
from qcn_agent.context.tokenizer import Tokenizer
from qcn_agent.engine.generator import IntArray
from tests.fakes.scripted import ByteVocabulary

VOCABULARY = ByteVocabulary()


def source(path: str, rank: int, sizes: list[int], values: list[float] | None = None) -> Source:
    """A file whose chunks have so many bytes, in lines of ten."""
    chunks = [Chunk(10 * n + 1, 10 * n + 10, ("x" * 9 + "\n") * (size // 10)) for n, size in enumerate(sizes)]
    tier = Tier.BEST if rank < 3 else Tier.RELATED
    return Source(path, rank, tier, tuple(chunks), tuple(values or [1.0 / (rank + 1)] * len(sizes)))


def some_sources(seed: int, count: int = 12) -> list[Source]:
    """Files of any shape."""
    dice = random.Random(seed)
    made = []
    for rank in range(count):
        sizes = [10 * dice.randint(1, 60) for _ in range(dice.randint(1, 9))]
        made.append(source(f"f{dice.randint(0, 99):02}-{rank}.py", rank, sizes, [dice.random() for _ in sizes]))
    return made


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    """Bytes are tokens."""
    return Tokenizer.open(VOCABULARY, tmp_path / "tokens", "x")


def text(parts: list[Part]) -> str:
    """What they say."""
    return VOCABULARY.decode(np.concatenate([array for part in parts for array in part.arrays]))


def size(parts: list[Part]) -> int:
    """Their tokens."""
    return sum(part.num_tokens for part in parts)


@pytest.mark.parametrize("seed", range(5))
def test_never_a_token_over_and_nearly_full(tokenizer: Tokenizer, seed: int) -> None:
    """For budgets of any size, as long as there is more than fits."""
    sources = some_sources(seed)
    all_of_it = size(select(sources, tokenizer, 10**7))

    for budget in [*range(0, 400, 23), *range(400, all_of_it, 371)]:
        used = size(select(sources, tokenizer, budget))
        assert used <= budget
        assert used >= 0.97 * budget or budget < 2500

    assert all_of_it == size(select(sources, tokenizer, all_of_it))


@given(st.integers(0, 2000), st.integers(1, 40))
def test_count_is_that_of_what_is_made(seed: int, num_steps: int) -> None:
    """Whatever is taken and taken back, in whatever order."""
    dice = random.Random(seed)
    sources = some_sources(seed, 3)
    frames = [_tokens(f"<{one.path}>", "</>") for one in sources]
    selection = Selection(sources, frames, _tokens("…", "")[0])
    everything = [(n, place) for n, one in enumerate(sources) for place in range(len(one.chunks))]
    dice.shuffle(everything)
    taken = []
    for address in everything[:num_steps]:
        before = selection.num_tokens
        cost = selection.cost(address, 5)
        selection.take(address, np.ones(5, np.int32))
        assert selection.num_tokens == before + cost
        taken.append(address)
    assert selection.num_tokens == size(selection.parts())

    selection.drop(taken[len(taken) // 2 :])

    assert selection.num_tokens == size(selection.parts())


def _tokens(opening: str, closing: str) -> tuple[IntArray, IntArray]:
    return VOCABULARY.encode([(opening, False)]), VOCABULARY.encode([(closing, False)])


def test_left_out_stretches_are_marked_and_lines_told(tokenizer: Tokenizer) -> None:
    """Before, between and after what is shown; neighbouring chunks are one stretch."""
    one = source("a.py", 0, [100, 100, 100, 100, 100, 100], [0.1, 5, 5, 0.1, 5, 0.1])

    parts = select([one], tokenizer, 350)

    assert [(part.tier, part.lines) for part in parts] == [(Tier.BEST, ((11, 30), (41, 50)))]
    body = "xxxxxxxxx\n" * 10
    gap = "[…]\n"
    assert text(parts) == f'<file path="a.py">\n{gap}{body}{body}{gap}{body}{gap}</file>\n'


def test_files_stand_by_tier_and_then_by_path(tokenizer: Tokenizer) -> None:
    """Not by rank: that would move with every edit."""
    sources = [source(path, rank, [50]) for rank, path in enumerate(["q.py", "b.py", "z.py", "y.py", "a.py"])]

    parts = select(sources, tokenizer, 10_000)

    assert [part.path for part in parts] == ["a.py", "y.py", "b.py", "q.py", "z.py"]


def test_what_fills_the_rest_comes_last(tokenizer: Tokenizer) -> None:
    """The chunks that no longer fit with others of their value; then the first lines of one, marked as cut."""
    sources = [source("a.py", 0, [600, 600], [5, 5]), source("b.py", 1, [600, 600], [1, 1])]

    parts = select(sources, tokenizer, 2200)

    assert [(part.tier, part.path) for part in parts] == [
        (Tier.BEST, "a.py"),
        (Tier.MORE, "b.py"),
        (Tier.MORE, "b.py"),
    ]
    assert parts[-1].lines[0][0] == 11
    assert text(parts[-1:]).endswith("x\n[…]\n</file>\n")


def test_edit_changes_nothing_before_its_file(tokenizer: Tokenizer) -> None:
    """What stands before the edited file is the same, token by token, though the budget is full."""
    sources = some_sources(3, 30)
    best = replace(sources[2], values=(9.0,) * len(sources[2].chunks))
    sources[2] = best
    longer = [Chunk(chunk.first, chunk.last, chunk.text + "y\n") for chunk in best.chunks[:1]]
    edited = [one if one is not best else replace(one, chunks=(*longer, *one.chunks[1:])) for one in sources]

    before, after = text(select(sources, tokenizer, 6000)), text(select(edited, tokenizer, 6000))

    assert before != after
    place = before.index(f'<file path="{best.path}">')
    assert before[:place] == after[:place]


def test_same_result_whatever_was_tokenised_before(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A warm cache changes nothing."""
    sources = some_sources(7)
    select(sources, tokenizer, 9000)
    cold = Tokenizer.open(VOCABULARY, tmp_path / "other", "x")

    assert text(select(sources, tokenizer, 4000)) == text(select(sources, cold, 4000))
    assert select([], cold, 100) == []
