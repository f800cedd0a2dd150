"""A model whose words are the recorded text, so that a policy is judged and not a model.

`skill` is the share of words that it foresees; of one that it does not, it says other letters until two are typed.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qcn_agent.completion.prompt import FimTokens
from qcn_agent.engine.generator import IntArray, Vocabulary
from tests.bench.typing_traces import Passage

TAIL_CHARS = 100  # of a prompt's text before the cursor: enough to find the place
_TYPED_ENOUGH = 2
LOST = "pass  # nothing of use\n"  # what it says where the text before the cursor is not of the passage

Speak = Callable[[IntArray], int]


@dataclass(frozen=True)
class Recording:
    """What is known of a passage: `answer` gives what the model says behind a text."""

    passage: Passage
    skill: float = 1.0

    def answer(self, prefix: str) -> str:
        """The rest of the passage behind the end of `prefix`, wrong in the words that are not foreseen."""
        at = self._position(prefix)
        return LOST if at is None else self._rest(at)

    def is_right(self, before: str, text: str) -> bool:
        """Whether `text` is what is typed next."""
        return (self.passage.before + self.passage.text)[len(before) :].startswith(text)

    def _position(self, prefix: str) -> int | None:
        """Where in the passage `prefix` ends."""
        tail, before = prefix[-TAIL_CHARS:], self.passage.before
        whole = before + self.passage.text
        found = whole.find(tail, max(0, len(before) - len(tail)))
        return None if found < 0 else found + len(tail) - len(before)

    def _rest(self, at: int) -> str:
        text = self.passage.text
        return "".join(
            word.group()[max(0, at - word.start()) :] if self._knows(word, at) else _other(word.group())
            for word in re.finditer(r"[A-Za-z_]\w*|\W|\d+", text)
            if word.end() > at
        )

    def _knows(self, word: re.Match[str], at: int) -> bool:
        if not word.group()[0].isalpha() or at - word.start() >= _TYPED_ENOUGH or word.start() < at:
            return True
        digest = hashlib.blake2b(f"{word.start()}/{self.passage.text}".encode(), digest_size=4).digest()
        return int.from_bytes(digest) < self.skill * 2**32


def _other(word: str) -> str:
    """Another word of the same length."""
    return word.translate(str.maketrans("abcdefghijklmnopqrstuvwxyz", "bcdefghijklmnopqrstuvwxyza"))


class Speaker:
    """The next token after a path of tokens: of the recording's answer to the last prompt in it, then the end."""

    def __init__(self, recording: Recording, vocabulary: Vocabulary, end: int) -> None:
        self._recording = recording
        self._vocabulary = vocabulary
        self._fim = FimTokens.of(vocabulary)
        self._end = end
        self._answers: dict[bytes, IntArray] = {}

    def __call__(self, path: IntArray) -> int:
        """Paths without markers, an agent's, go on for ever with one token."""
        middles = np.flatnonzero(path == self._fim.middle)
        if not len(middles):
            return int(path[-1])
        at = int(middles[-1])
        answer = self._answer(path[: at + 1])
        num_said = len(path) - at - 1
        return int(answer[num_said]) if num_said < len(answer) else self._end

    def prefix(self, prompt: IntArray) -> str:
        """The text before the cursor that a prompt holds."""
        begin = int(np.flatnonzero(prompt == self._fim.prefix)[-1]) + 1
        ends = np.flatnonzero((prompt == self._fim.suffix) | (prompt == self._fim.middle))
        return self._vocabulary.decode(prompt[begin : int(ends[ends >= begin][0])])

    def _answer(self, prompt: IntArray) -> IntArray:
        key = prompt.tobytes()
        if key not in self._answers:
            self._answers[key] = self._vocabulary.encode([(self._recording.answer(self.prefix(prompt)), False)])
        return self._answers[key]


def an_end(is_end: Callable[[int], bool], n_vocab: int) -> int:
    """A token that ends an answer."""
    return next(token for token in range(n_vocab) if is_end(token))
