"""The part of a pack that no issue changes: what the project asks for, its tree, its signatures."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from qcn_agent.context.pack import Part, Tier
from qcn_agent.context.signatures import signature_order, signature_text
from qcn_agent.context.tokenizer import Tokenizer
from qcn_agent.context.tree import tree_lines
from qcn_agent.engine.generator import IntArray
from qcn_agent.index.reader import IndexReader
from qcn_prompts import framing

MAX_TOKENS = 32_768
_SHARE = 8  # an eighth of the whole budget
_MIN_TOKENS = 128
_BATCH = 32
_TREE_SHARE = 3


def head_budget(budget: int) -> int:
    """The tokens that a head may have: a power of two, so that runs with about the same budget share theirs.

    0 where the budget is too small for one.
    """
    share = min(MAX_TOKENS, budget // _SHARE)
    return 1 << (share.bit_length() - 1) if share >= _MIN_TOKENS else 0


def make_head(
    index: IndexReader, tokenizer: Tokenizer, budget: int, instructions: Sequence[tuple[str, str]] = ()
) -> tuple[Part, ...]:
    """The head, of at most `budget` tokens. It depends on the index and on `instructions` (path, text) alone.

    A greater budget continues the tree and the signatures.
    """
    files = index.files()
    parts: list[Part] = []
    opening, closing, *wraps = tokenizer.encode([*framing.HEAD, *framing.TREE, *framing.SIGNATURES])
    left = budget - len(opening) - len(closing)
    if left < 0 or not files:
        return ()
    for path, text in instructions:
        around = framing.instructions(path)
        part = Part(Tier.INSTRUCTIONS, path, tuple(tokenizer.encode([around[0], text, around[1]])))
        if part.num_tokens <= left:
            parts.append(part)
            left -= part.num_tokens
    lines = _fitting(tokenizer, tree_lines(file.path for file in files), left // _TREE_SHARE - _length(wraps[:2]))
    tree = _wrapped(Tier.TREE, wraps[:2], lines)
    left -= sum(part.num_tokens for part in tree)
    signed = ((file.path, index.definitions_of(file.file_id)) for file in signature_order(files))
    texts = (text for path, definitions in signed if (text := signature_text(path, definitions)))
    signatures = _wrapped(Tier.SIGNATURES, wraps[2:], _fitting(tokenizer, texts, left - _length(wraps[2:])))
    frame = (Part(Tier.FRAME, "", (opening,)), Part(Tier.FRAME, "", (closing,)))
    return (frame[0], *parts, *tree, *signatures, frame[1])


def _fitting(tokenizer: Tokenizer, texts: Iterable[str], budget: int) -> list[IntArray]:
    """The tokens of the first texts, as many as fit."""
    found: list[IntArray] = []
    for tokens in _encoded(tokenizer, texts):
        budget -= len(tokens)
        if budget < 0:
            break
        found.append(tokens)
    return found


def _encoded(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[IntArray]:
    rest = iter(texts)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield from tokenizer.encode(batch)


def _length(arrays: Sequence[IntArray]) -> int:
    return sum(map(len, arrays))


def _wrapped(tier: Tier, around: Sequence[IntArray], arrays: Sequence[IntArray]) -> list[Part]:
    return [Part(tier, "", (around[0], *arrays, around[1]))] if arrays else []
