"""Fill-in-the-middle prompts as token arrays, so shaped that the next key finds most of them in the cache.

PSM (prefix, suffix, middle) is the order models are trained on. In the SPM-like order the suffix comes first: it stays
cached while one types, and a key costs the tokens of its line. Source: Qwen2.5-Coder's notes on fill-in-the-middle, and
llama.cpp's `--spm-infill`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qcn_agent.completion.planner import Shape
from qcn_agent.completion.values import Snapshot
from qcn_agent.completion.window import blocks
from qcn_agent.engine.generator import IntArray, Vocabulary
from qcn_agent.errors import ModelError

Layout = Literal["psm", "spm"]
_MARKS = 16  # stretches of text looked at, of a quarter window or so each
_CHARS_PER_TOKEN = 8  # at most, in code; more text is not tokenised
_MAX_CACHED = 512  # texts


@dataclass(frozen=True)
class ContextBlock:
    """A piece of another place: where it is from, its text, and since when it is known (smaller is older)."""

    path: str
    text: str
    age: int = 0


@dataclass(frozen=True)
class FimPrompt:
    """`tokens` (int32) and the positions where later prompts are likely to part from it."""

    tokens: IntArray
    boundaries: tuple[int, ...]

    def until(self, num_tokens: int) -> "FimPrompt":
        """Its beginning."""
        return FimPrompt(self.tokens[:num_tokens], tuple(one for one in self.boundaries if one <= num_tokens))


@dataclass(frozen=True)
class FimTokens:
    """The ids of the markers in this vocabulary. `repo` and `file` are None in a model without them."""

    prefix: int
    suffix: int
    middle: int
    repo: int | None
    file: int | None

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "FimTokens":
        """Found by their names. Raises ModelError when the model has no fill-in-the-middle tokens."""
        ids = {name: _marker(vocabulary, f"<|fim_{name}|>") for name in ("prefix", "suffix", "middle")}
        missing = [f"<|fim_{name}|>" for name, token in ids.items() if token is None]
        if missing:
            raise ModelError(
                f"this model can't complete: its vocabulary has no {', '.join(missing)}",
                hint="set [completion] model to a GGUF that knows fill-in-the-middle",
            )
        found = {name: token for name, token in ids.items() if token is not None}
        return cls(**found, repo=_marker(vocabulary, "<|repo_name|>"), file=_marker(vocabulary, "<|file_sep|>"))

    @property
    def all(self) -> frozenset[int]:
        """What must not be part of an answer."""
        known = (self.prefix, self.suffix, self.middle, self.repo, self.file)
        return frozenset(token for token in known if token is not None)


def _marker(vocabulary: Vocabulary, name: str) -> int | None:
    """The one control token of that name: text of the same letters must give others."""
    try:
        tokens = vocabulary.encode([(name, True)])
    except ValueError:  # a vocabulary that knows its control tokens only
        return None
    if len(tokens) != 1 or np.array_equal(tokens, vocabulary.encode([(name, False)])):
        return None
    return int(tokens[0])


class PromptBuilder:
    """Makes prompts for one model. Texts are tokenised once, each piece alone, never as control tokens."""

    def __init__(self, vocabulary: Vocabulary, layout: Layout, repository: str = "") -> None:
        self.fim = FimTokens.of(vocabulary)
        self.layout = layout
        self._vocabulary = vocabulary
        self._repository = repository
        self._cache: OrderedDict[str, IntArray] = OrderedDict()

    def build(self, snapshot: Snapshot, context: Sequence[ContextBlock], shape: Shape) -> FimPrompt:
        """A prompt of at most `shape.prefix_tokens` and `suffix_tokens` of text, behind `shape.num_context` blocks."""
        head = self._head(context[: shape.num_context], snapshot.path)
        above, line = self._prefix(snapshot, shape.prefix_tokens)
        suffix = self._suffix(snapshot.after, shape.suffix_tokens)
        fim = self.fim
        if self.layout == "spm":
            parts = [head, _ids(fim.suffix), suffix, _ids(fim.prefix), above, line, _ids(fim.middle)]
            fixed = len(head) + len(suffix) + 2
        else:
            parts = [head, _ids(fim.prefix), above, line, _ids(fim.suffix), suffix, _ids(fim.middle)]
            fixed = len(head) + 1
        tokens = np.concatenate(parts).astype(np.int32)
        # The line end above may grow into another token when an empty line follows: so one token before the line.
        line_start = fixed + max(0, len(above) - 1)
        wanted = {len(head), fixed if self.layout == "spm" else 0, line_start}
        return FimPrompt(tokens, tuple(sorted(position for position in wanted if 0 < position < len(tokens))))

    def num_context_fitting(self, context: Sequence[ContextBlock], max_tokens: int) -> int:
        """How many of the blocks, from the first on, have at most so many tokens together."""
        total = 0
        for number, block in enumerate(context):
            total += len(self._encode(_as_file(block)))
            if total > max_tokens:
                return number
        return len(context)

    def _head(self, context: Sequence[ContextBlock], path: str) -> IntArray:
        """The other places, as files of a repository, and the name of this one; nothing without them."""
        if not context or self.fim.repo is None or self.fim.file is None:
            return _ids()
        separator = _ids(self.fim.file)
        parts = [_ids(self.fim.repo), self._encode(self._repository + "\n")]
        for block in context:
            parts += [separator, self._encode(_as_file(block))]
        return np.concatenate([*parts, separator, self._encode(path + "\n")])

    def _prefix(self, snapshot: Snapshot, max_tokens: int) -> tuple[IntArray, IntArray]:
        """The window above the cursor's line, and the line; `max_tokens` together at most.

        Room for the line is set aside in steps, so that a longer line does not move the window at each key.
        """
        line = self._encode(snapshot.line_before[-_CHARS_PER_TOKEN * max_tokens :])[-max_tokens:]
        step = max(1, max_tokens // 4)
        room = max_tokens - min(max_tokens, -(-len(line) // step) * step)
        pieces: list[IntArray] = []
        for text in reversed(blocks(snapshot.before[: snapshot.line_start], max_tokens, _MARKS)):
            piece = self._encode(text)
            if len(piece) > room:
                if not pieces:
                    pieces = [self._last_lines(text, room)]
                break
            pieces.insert(0, piece)
            room -= len(piece)
        return (np.concatenate(pieces) if pieces else _ids()), line

    def _last_lines(self, text: str, max_tokens: int) -> IntArray:
        """The last whole lines that fit."""
        kept = _ids()
        for line in reversed(
            text[-_CHARS_PER_TOKEN * max_tokens :].splitlines(keepends=True)[1:] if max_tokens else []
        ):
            piece = self._encode(line)
            if len(kept) + len(piece) > max_tokens:
                break
            kept = np.concatenate([piece, kept])
        return kept

    def _suffix(self, after: str, max_tokens: int) -> IntArray:
        return self._encode(after[: _CHARS_PER_TOKEN * max_tokens])[:max_tokens]

    def _encode(self, text: str) -> IntArray:
        """Tokens of plain text, remembered."""
        found = self._cache.get(text)
        if found is None:
            found = self._cache[text] = self._vocabulary.encode([(text, False)]) if text else _ids()
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        self._cache.move_to_end(text)
        return found


def _as_file(block: ContextBlock) -> str:
    return f"{block.path}\n{block.text.rstrip()}\n"


def _ids(*tokens: int) -> IntArray:
    return np.array(tokens, np.int32)
