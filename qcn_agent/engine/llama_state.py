"""Sequences of a llama.cpp context as bytes, and back.

llama.cpp writes KV and recurrent state of a sequence together, or the state alone. KV alone is what it writes of a
sequence whose state was taken away, and an empty state is taken over like any other: that is how it is taken away.
"""

import ctypes
from typing import Any

import numpy as np

from qcn_agent.engine import llama_cpp
from qcn_agent.engine.backend import BlobLostError, Bytes, NoRoomError
from qcn_agent.engine.llama_cpp import api

_ALL, _STATE_ONLY = 0, 1  # LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY


class StateIO:
    """Of one context, made while sequence 0 is empty. Sequence ids are the caller's to check."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._nothing = self.export_state(0)

    def state_size(self, seq_id: int) -> int:
        """Bytes of the recurrent state, headers included."""
        return int(api.llama_state_seq_get_size_ext(self._context, seq_id, _STATE_ONLY))

    def size(self, seq_id: int) -> int:
        """Bytes of KV and state, headers included."""
        return int(api.llama_state_seq_get_size_ext(self._context, seq_id, _ALL))

    def export_all(self, seq_id: int) -> Bytes:
        """KV and state."""
        return self._export(seq_id, _ALL)

    def export_state(self, seq_id: int) -> Bytes:
        """The recurrent state alone."""
        return self._export(seq_id, _STATE_ONLY)

    def import_all(self, data: Bytes, seq_id: int) -> None:
        """Replace KV and state. Raises NoRoomError, after which the sequence is empty."""
        if not self._import(data, seq_id, _ALL):
            raise NoRoomError(f"no room for a stored KV stretch: {llama_cpp.latest_errors()}")

    def import_state(self, data: Bytes, seq_id: int) -> None:
        """Replace the state, keep the KV. Raises BlobLostError when it does not fit this model."""
        if not self._import(data, seq_id, _STATE_ONLY):
            raise BlobLostError(f"a stored state was refused: {llama_cpp.latest_errors()}")

    def detach(self, seq_id: int) -> None:
        """Take the recurrent state away and leave the KV."""
        self.import_state(self._nothing, seq_id)

    def _export(self, seq_id: int, flags: int) -> Bytes:
        size = api.llama_state_seq_get_size_ext(self._context, seq_id, flags)
        data = np.empty(size, np.uint8)
        written = api.llama_state_seq_get_data_ext(self._context, _pointer(data), size, seq_id, flags)
        return data[:written]

    def _import(self, data: Bytes, seq_id: int, flags: int) -> bool:
        llama_cpp.forget_errors()
        taken: int = api.llama_state_seq_set_data_ext(self._context, _pointer(data), len(data), seq_id, flags)
        return taken == len(data)


def _pointer(data: Bytes) -> Any:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
