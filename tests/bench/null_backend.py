"""A backend that computes nothing, so that what is measured is our own bookkeeping."""

from collections.abc import Sequence

import numpy as np

from qcn_agent.engine.backend import AbortFlag, BackendInfo, Bytes, Run
from qcn_agent.engine.generator import FloatArray, IntArray, TokenLogprob
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.sampling import SamplingSettings

N_VOCAB = 1000
_COPY = np.zeros(4, np.uint8)


class NullSampler:
    """Draws from a counter."""

    def __init__(self) -> None:
        self._drawn = 0

    def sample(self, position: int, row: int = -1, kept: FloatArray | None = None) -> int:
        """See `Sampler.sample`; but for the counter a function of the position."""
        self._drawn += 1
        return (position * 31 + self._drawn) % N_VOCAB

    def logprob(self, token: int, row: int = -1) -> TokenLogprob | None:
        """None."""
        return None

    def close(self) -> None:
        """Nothing to free."""


class NullBackend:
    """See `Backend`; of a hybrid model. Sequences have lengths and nothing else."""

    n_vocab = N_VOCAB
    n_batch = 512
    n_outputs = 64
    can_abort = False
    needs_snapshots = True
    full_copies = False

    def __init__(self, n_ctx: int, n_seq_max: int) -> None:
        self.n_ctx = n_ctx
        self.n_seq_max = n_seq_max
        self._lengths = [0] * n_seq_max
        self._logits = np.zeros(N_VOCAB, np.float32)

    @property
    def info(self) -> BackendInfo:
        """Of no build at all."""
        return BackendInfo("null", "", (), False, False, 0, len(_COPY), 1.0)

    def decode(self, runs: Sequence[Run]) -> None:
        """See `Backend.decode`."""
        for run in runs:
            self._lengths[run.seq_id] += len(run.tokens)

    def abort_when(self, flag: AbortFlag | None) -> None:
        """Nothing to abort."""

    def logits(self, row: int = -1) -> FloatArray:
        """See `Backend.logits`."""
        return self._logits

    def snapshot(self, src: int, park: int) -> None:
        """See `Backend.snapshot`."""

    def restore(self, park: int, dst: int, num_tokens: int) -> None:
        """See `Backend.restore`."""
        self._lengths[dst] = num_tokens

    def fork(self, src: int, park: int, dst: int, num_tokens: int) -> None:
        """See `Backend.fork`."""
        self._lengths[dst] = num_tokens

    def drop(self, seq_id: int) -> None:
        """See `Backend.drop`."""
        self._lengths[seq_id] = 0

    def trim(self, seq_id: int, num_tokens: int) -> None:
        """See `Backend.trim`."""
        self._lengths[seq_id] = num_tokens

    def share_kv(self, src: int, dst: int, begin: int, end: int) -> None:
        """See `Backend.share_kv`."""
        self._lengths[dst] = end

    def export_kv(self, src: int, begin: int, end: int, via: int) -> Bytes:
        """See `Backend.export_kv`."""
        return _COPY

    def import_kv(self, data: Bytes, via: int) -> None:
        """See `Backend.import_kv`."""

    def export_state(self, src: int) -> Bytes:
        """See `Backend.export_state`."""
        return _COPY

    def import_state(self, data: Bytes, dst: int) -> None:
        """See `Backend.import_state`."""

    def length(self, seq_id: int) -> int:
        """See `Backend.length`."""
        return self._lengths[seq_id]

    def sampler(self, settings: SamplingSettings, grammar: Grammar | None) -> NullSampler:
        """See `Backend.sampler`."""
        return NullSampler()

    def tokenize(self, text: bytes, *, parse_special: bool) -> IntArray:
        """No tokens."""
        return np.empty(0, np.int32)

    def piece(self, token: int, *, special: bool) -> bytes:
        """A letter each."""
        return b"a"

    def is_end(self, token: int) -> bool:
        """No token ends a generation."""
        return False

    def close(self) -> None:
        """Nothing to free."""
