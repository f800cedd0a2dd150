"""The border between text and token ids."""

import codecs
from collections.abc import Sequence

import numpy as np

from qcn_agent.engine.backend import Backend
from qcn_agent.engine.generator import IntArray


class LlamaVocabulary:
    """`Vocabulary` of a loaded model. Safe to call from any thread until the model is closed."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> IntArray:
        """See `Vocabulary.encode`. Each piece is tokenised alone, so equal pieces give equal tokens.

        Tokens that the model declares as ordinary text (`<tool_call>`) are found in both kinds of pieces.
        """
        parts = [
            self._backend.tokenize(text.encode("utf-8", errors="replace"), parse_special=special)
            for text, special in pieces
            if text
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def decode(self, tokens: IntArray, *, special: bool = False) -> str:
        """See `Vocabulary.decode`. Bytes that are no UTF-8 become U+FFFD."""
        raw = b"".join(self._backend.piece(int(token), special=special) for token in tokens)
        return raw.decode("utf-8", errors="replace")

    def is_end(self, token: int) -> bool:
        """See `Vocabulary.is_end`."""
        return self._backend.is_end(token)


class IncrementalDetokenizer:
    """Bytes of tokens in, text out, as soon as it is certain.

    Held back are an incomplete UTF-8 character and any ending that may grow into one of `stop`. From the first
    stop string on everything is swallowed, and `stopped` is true.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._is_whole = True  # no character is unfinished
        self._stop = tuple(filter(None, stop))
        self._held = ""
        self.stopped = False

    def push(self, piece: bytes) -> str:
        """Text that became certain with `piece`, the bytes of one token."""
        if self._is_whole and piece.isascii():
            return self._release(piece.decode("ascii"))
        text = self._decoder.decode(piece)
        self._is_whole = not self._decoder.getstate()[0]
        return self._release(text)

    def flush(self) -> str:
        """The rest, when no token follows: an unfinished character becomes U+FFFD."""
        text = self._release(self._decoder.decode(b"", final=True))
        self._is_whole = True
        held, self._held = self._held, ""
        return text if self.stopped else text + held

    def _release(self, new: str) -> str:
        if not self._stop:
            return new
        if self.stopped:
            return ""
        text = self._held + new
        found = [index for index in (text.find(stop) for stop in self._stop) if index >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        certain = len(text) - self._open_suffix(text)
        self._held = text[certain:]
        return text[:certain]

    def _open_suffix(self, text: str) -> int:
        """Length of the longest ending of `text` that begins a stop string."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop):
                return length
        return 0
