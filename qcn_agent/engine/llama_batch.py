"""One decode call's input, filled without a loop over tokens."""

import ctypes
from typing import Any

import numpy as np

from qcn_agent.engine.generator import IntArray
from qcn_agent.engine.llama_cpp import api
from qcn_agent.errors import EngineError


class Batch:
    """A llama_batch over numpy arrays. All tokens of a call belong to one sequence, so they share one id cell."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._token = np.zeros(capacity, np.int32)
        self._position = np.zeros(capacity, np.int32)
        self._steps = np.arange(capacity, dtype=np.int32)
        self._num_ids = np.ones(capacity, np.int32)
        self._id = np.zeros(1, np.int32)
        self._ids = np.full(capacity, self._id.ctypes.data, np.uintp)
        self._wanted = np.zeros(capacity, np.int8)
        self._last = 0
        self._struct = self._build()

    def _build(self) -> Any:
        batch = api.llama_batch()
        fields = dict(batch._fields_)
        for name, array in (
            ("token", self._token),
            ("pos", self._position),
            ("n_seq_id", self._num_ids),
            ("seq_id", self._ids),
            ("logits", self._wanted),
        ):
            setattr(batch, name, ctypes.cast(array.ctypes.data, fields[name]))
        return batch

    def fill(self, seq_id: int, tokens: IntArray, position: int, *, want_logits: bool) -> Any:
        """The struct for one call; valid until the next one."""
        count = len(tokens)
        if not 0 < count <= self._capacity:
            raise EngineError(f"a call of {count} tokens; 1 .. {self._capacity} are possible")
        if count == 1:  # the decode loop: slices cost more than the values
            self._token[0], self._position[0] = tokens[0], position
        else:
            self._token[:count] = tokens
            np.add(self._steps[:count], position, out=self._position[:count])
        self._id[0] = seq_id
        self._wanted[self._last] = 0
        self._last = count - 1
        self._wanted[self._last] = want_logits
        self._struct.n_tokens = count
        return self._struct
