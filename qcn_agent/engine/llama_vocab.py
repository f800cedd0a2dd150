"""Bytes to tokens and back, by llama.cpp."""

import ctypes
from typing import Any

import numpy as np

from qcn_agent.engine.generator import IntArray
from qcn_agent.engine.llama_cpp import api, quick
from qcn_agent.errors import EngineError

_PIECE_BYTES = 256


class LlamaVocab:
    """The vocabulary of a loaded model; usable from any thread until `close`.

    `is_control`, shape (n_tokens,), marks those that steer and are no text; the ones that end a generation are not.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.n_tokens: int = api.llama_vocab_n_tokens(handle)
        tokens = range(self.n_tokens)
        self._ends = frozenset(token for token in tokens if quick.llama_vocab_is_eog(handle, token))
        control = (quick.llama_vocab_is_control(handle, token) and token not in self._ends for token in tokens)
        self.is_control = np.fromiter(control, np.bool_, self.n_tokens)
        self._pieces: dict[int, bytes] = {}

    def tokenize(self, text: bytes, *, parse_special: bool) -> IntArray:
        """Tokens of UTF-8 text, nothing added. Raises EngineError when llama.cpp refuses it."""
        tokens = np.empty(len(text) + 8, np.int32)
        pointer = tokens.ctypes.data_as(api.llama_token_p)
        count = api.llama_tokenize(self._open(), text, len(text), pointer, len(tokens), False, parse_special)
        if count < 0:
            raise EngineError(f"{len(text)} bytes of text could not be tokenized")
        return tokens[:count].copy()

    def piece(self, token: int, *, special: bool) -> bytes:
        """Bytes of one token; b"" for a control token unless `special`. Raises EngineError for a foreign id."""
        key = token * 2 + special
        found = self._pieces.get(key)
        if found is None:
            if not 0 <= token < self.n_tokens:
                raise EngineError(f"no token {token} in a vocabulary of {self.n_tokens}")
            found = self._pieces[key] = _read_piece(self._open(), token, special)
        return found

    def is_end(self, token: int) -> bool:
        """Whether the token ends a generation."""
        return token in self._ends

    def close(self) -> None:
        """The model is about to be freed: from now on calls raise EngineError."""
        self.handle = None

    def _open(self) -> Any:
        if not self.handle:
            raise EngineError("the engine is closed")
        return self.handle


def _read_piece(handle: Any, token: int, special: bool) -> bytes:
    size = _PIECE_BYTES
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = api.llama_token_to_piece(handle, token, buffer, size, 0, special)
        if length >= 0:
            return buffer.raw[:length]
        size = -length
