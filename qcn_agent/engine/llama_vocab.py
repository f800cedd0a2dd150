"""Bytes to tokens and back, by llama.cpp."""

import ctypes
from typing import Any

import numpy as np

from qcn_agent.engine.generator import IntArray
from qcn_agent.engine.llama_cpp import api
from qcn_agent.errors import EngineError

_PIECE_BYTES = 256


def tokenize(vocab: Any, text: bytes, *, parse_special: bool) -> IntArray:
    """Tokens of UTF-8 text. Raises EngineError when llama.cpp refuses it."""
    tokens = np.empty(len(text) + 8, np.int32)
    pointer = tokens.ctypes.data_as(api.llama_token_p)
    count = api.llama_tokenize(vocab, text, len(text), pointer, len(tokens), False, parse_special)
    if count < 0:
        raise EngineError(f"{len(text)} bytes of text could not be tokenized")
    return tokens[:count].copy()


def piece(vocab: Any, token: int, *, special: bool) -> bytes:
    """Bytes of one token; b"" for a control token unless `special`, and for an id outside the vocabulary."""
    size = _PIECE_BYTES
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = api.llama_token_to_piece(vocab, token, buffer, size, 0, special)
        if length >= 0:
            return buffer.raw[:length]
        size = -length
