"""One decode call's input, filled without a loop over tokens."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from qcn_agent.engine.backend import Run
from qcn_agent.engine.llama_cpp import api
from qcn_agent.errors import EngineError


class Batch:
    """A llama_batch over numpy arrays, for up to `capacity` tokens of sequences 0 .. `n_seq_max` - 1.

    Logits are had of at most `n_outputs` tokens.

    The id of a sequence is read through a pointer; cell i of `_id` holds i, so a pointer into it names a sequence.
    """

    def __init__(self, capacity: int, n_seq_max: int, n_outputs: int) -> None:
        self._capacity = capacity
        self._n_seq_max = n_seq_max
        self._n_outputs = n_outputs
        self._token = np.zeros(capacity, np.int32)
        self._position = np.zeros(capacity, np.int32)
        self._steps = np.arange(capacity, dtype=np.int32)
        self._num_ids = np.ones(capacity, np.int32)
        self._id = np.arange(n_seq_max, dtype=np.int32)
        self._id_address = int(self._id.ctypes.data)
        self._ids = np.full(capacity, self._id_address, np.uintp)
        self._wanted = np.zeros(capacity, np.int8)
        self._one = self._ids.data, self._token.data, self._position.data  # quick to set
        self._marked: list[int] = []  # where `_wanted` is set
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

    def fill(self, runs: Sequence[Run]) -> Any:
        """The struct for one call; valid until the next one. Raises EngineError for impossible numbers."""
        for index in self._marked:
            self._wanted[index] = 0
        self._marked.clear()
        end = 0
        for seq_id, tokens, position, num_logits in runs:
            begin, end = end, end + len(tokens)
            if not begin < end <= self._capacity:
                raise EngineError(f"a call of {end} tokens; 1 .. {self._capacity} are possible")
            if not 0 <= seq_id < self._n_seq_max:  # llama.cpp would end the process
                raise EngineError(f"no sequence {seq_id}")
            if end - begin == 1:  # the decode loop: slices cost more than the values
                ids, token, positions = self._one
                ids[begin], token[begin], positions[begin] = self._id_address + 4 * seq_id, tokens[0], position
            else:
                self._ids[begin:end] = self._id_address + 4 * seq_id
                self._token[begin:end] = tokens
                np.add(self._steps[: end - begin], position, out=self._position[begin:end])
            for index in range(end - num_logits, end):
                self._wanted[index] = 1
                self._marked.append(index)
        if not end:
            raise EngineError("a call without tokens")
        if len(self._marked) > self._n_outputs:
            raise EngineError(f"logits of {len(self._marked)} tokens; {self._n_outputs} are possible")
        self._struct.n_tokens = end
        return self._struct
