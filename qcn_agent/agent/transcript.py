"""A conversation as the model sees it: tokens that only ever grow, and the places worth coming back to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qcn_agent.context.pack import Pack
from qcn_agent.engine.generator import IntArray, Vocabulary
from qcn_prompts import Piece, chatml

NUM_PLACES = 3  # of the best-ranked files; with the end of the turn the engine takes four


@dataclass(frozen=True)
class Transcript:
    """An immutable token path. Every operation returns a longer one, so a branch is just an older value.

    `tokens` is int32, shape (n,); `boundaries` are the positions after each turn, and inside one that holds packed
    context. The first `num_anchors` of them are what other conversations begin with, too. Text is rendered and
    tokenised once: sampled tokens are kept as they were drawn.
    """

    vocabulary: Vocabulary
    tokens: IntArray
    boundaries: tuple[int, ...] = ()
    num_anchors: int = 1

    @classmethod
    def empty(cls, vocabulary: Vocabulary) -> "Transcript":
        """A conversation in which nothing was said."""
        return cls(vocabulary, np.zeros(0, dtype=np.int32))

    def say(self, role: str, text: str) -> "Transcript":
        """Append a whole turn of `role`."""
        return self._append(chatml.turn(role, text), boundary=True)

    def say_with(self, role: str, pack: Pack, text: str) -> "Transcript":
        """Append a whole turn of `role`: packed context, then `text`. The end of the pack's head becomes an anchor."""
        opening, closing = chatml.turn_around(role)
        begun = self._append(opening, boundary=False)
        begin, num_head_tokens = len(begun.tokens), pack.num_head_tokens
        packed = begun._grow(pack.tokens, boundary=False)
        said = packed._append([(text, False), *closing], boundary=True)
        inside = {num_head_tokens, *pack.places(NUM_PLACES)} - {0}
        boundaries = (*self.boundaries, *(begin + place for place in sorted(inside)), len(said.tokens))
        return replace(said, boundaries=boundaries, num_anchors=len(self.boundaries) + bool(num_head_tokens))

    def respond(self, observations: Sequence[str]) -> "Transcript":
        """Append the results of the last turn's tool calls."""
        return self._append(chatml.tool_responses(observations), boundary=True)

    def ask(self) -> "Transcript":
        """Append the header that makes the model speak: the prompt of a request."""
        return self._append(chatml.assistant_header(), boundary=False)

    def answer(self, sampled: IntArray) -> "Transcript":
        """Append what the model said, as sampled, and close its turn."""
        ended = len(sampled) > 0 and self.vocabulary.is_end(int(sampled[-1]))
        closing = self.vocabulary.encode(chatml.assistant_end(ended=ended))
        return self._grow(np.concatenate([sampled, closing]), boundary=True)

    def _append(self, pieces: Sequence[Piece], *, boundary: bool) -> "Transcript":
        return self._grow(self.vocabulary.encode(pieces), boundary=boundary)

    def _grow(self, new: IntArray, *, boundary: bool) -> "Transcript":
        tokens = np.concatenate([self.tokens, new]).astype(np.int32, copy=False)
        boundaries = (*self.boundaries, len(tokens)) if boundary else self.boundaries
        return replace(self, tokens=tokens, boundaries=boundaries)
