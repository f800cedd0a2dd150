"""What the engine needs from a runtime: sequences of tokens, copies of their state, logits and samplers.

Vocabulary of this page. A *sequence* is an id that tokens are decoded into; a *park* is a sequence id that only holds a
copy of a recurrent state. A state at position n is usable only together with the KV of tokens [0, n) of the same path,
which some live sequence must still hold. All calls come from one thread.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from qcn_agent.engine.generator import FloatArray, IntArray, TokenLogprob
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.sampling import SamplingSettings
from qcn_agent.errors import EngineError

Bytes = NDArray[np.uint8]


class NoRoomError(EngineError):
    """No KV cells are left for this call; nothing was changed."""


class NoBranchError(EngineError):
    """Every branch of the cache belongs to a running generation; nothing was changed."""


class NoCellsError(NoBranchError):
    """A branch is free, but running generations fill the KV cells that it would need; nothing was changed."""


class BlobLostError(EngineError):
    """A copy outside the device can't be read back: what hangs on it is gone."""


class DecodeError(EngineError):
    """The call failed half-way: its sequences hold garbage until they are restored or dropped."""


class AbortedError(DecodeError):
    """The call was cut short because the abort flag was set; its sequences hold garbage as after any failure."""


class AbortFlag:
    """One byte that any thread may set and that a running call polls without the interpreter."""

    def __init__(self) -> None:
        self._bytes = ctypes.create_string_buffer(2)  # the second byte ends a C string of length 0 or 1

    @property
    def address(self) -> int:
        """Where the byte is; valid as long as this object."""
        return ctypes.addressof(self._bytes)

    @property
    def is_set(self) -> bool:
        """Whether calls that poll it are to stop."""
        return self._bytes[0] != b"\0"

    def set(self) -> None:
        """Stop the call that polls it, if any, and each one after it until `clear`."""
        self._bytes[0] = b"\1"

    def clear(self) -> None:
        """Let calls run."""
        self._bytes[0] = b"\0"


class Run(NamedTuple):
    """One sequence's part of a call: `tokens` (1 or more, int32) at `position`, the length of the sequence.

    The logits after its last `num_logits` tokens can be read and sampled until the next call.
    """

    seq_id: int
    tokens: IntArray
    position: int
    num_logits: int = 0


class Sampler(Protocol):
    """Draws the tokens of one generation."""

    def sample(self, position: int, row: int = -1, kept: FloatArray | None = None) -> int:
        """Draw the token that stands at `position` from the logits of `row` (see `Backend.logits`), or from `kept`.

        A function of (seed, position, logits), and of the tokens drawn before where a penalty is set.
        """

    def logprob(self, token: int, row: int = -1) -> TokenLogprob | None:
        """What the model thought of `token` in `row`; None unless the settings ask for it."""

    def close(self) -> None:
        """Free it. Harmless when repeated."""


@dataclass(frozen=True)
class BackendInfo:
    """What the build and the model are, for status pages."""

    build: str
    system: str
    devices: tuple[str, ...]
    gpu_offload: bool
    mmap: bool
    num_params: int
    state_bytes: int  # size of one recurrent state; 0 for pure attention
    kv_bytes_per_token: float


class Backend(Protocol):
    """A loaded model with one context. Sequence ids run from 0 to `n_seq_max` - 1."""

    n_vocab: int
    n_ctx: int  # KV cells, shared by all sequences
    n_batch: int  # most tokens of one decode call
    n_seq_max: int
    n_outputs: int  # most tokens of one call that logits can be had of
    can_abort: bool  # a call can be cut short: something of the model is computed on the CPU
    needs_snapshots: bool  # recurrent or hybrid: a sequence can't be cut back without a saved state
    full_copies: bool  # snapshots copy whole sequences, because the cheap ones failed the self-test

    @property
    def info(self) -> BackendInfo:
        """Facts for status pages."""

    def decode(self, runs: Sequence[Run]) -> None:
        """Evaluate the runs, each of another sequence, in one call of at most n_batch tokens.

        Raises NoRoomError (nothing changed), AbortedError or DecodeError (each sequence of the call is garbage:
        restore or drop it).
        """

    def abort_when(self, flag: AbortFlag | None) -> None:
        """From now on a call ends with AbortedError as soon as `flag` is set; None: never. Void unless `can_abort`."""

    def logits(self, row: int = -1) -> FloatArray:
        """A copy of the latest logits, shape (n_vocab,). `row` is the index in the call of the token they follow.

        So in a call of one token a sequence it is the index of the run; -1 is the last token.
        """

    def snapshot(self, src: int, park: int) -> None:
        """Keep the state of `src` in the empty `park`. No bytes move until one of them is decoded into."""

    def restore(self, park: int, dst: int, num_tokens: int) -> None:
        """Put `dst` back to its first `num_tokens` tokens; `park` was taken there on the same path, and stays.

        Without `needs_snapshots` the park is not looked at.
        """

    def fork(self, src: int, park: int, dst: int, num_tokens: int) -> None:
        """Make the empty `dst` share the first `num_tokens` tokens of `src`; `park` was taken there from `src`."""

    def drop(self, seq_id: int) -> None:
        """Empty a sequence or park."""

    def trim(self, seq_id: int, num_tokens: int) -> None:
        """Forget the KV after `num_tokens`. With `needs_snapshots` only after `import_state` of that position."""

    def share_kv(self, src: int, dst: int, begin: int, end: int) -> None:
        """Let `dst` have the KV of positions [begin, end) of `src`, too. Its state is undefined until it is set."""

    def export_kv(self, src: int, begin: int, end: int, via: int) -> Bytes:
        """A copy of the KV of positions [begin, end), no state. `via` is an empty sequence, and stays empty."""

    def import_kv(self, data: Bytes, via: int) -> None:
        """Put such a copy into the empty sequence `via`. Raises NoRoomError; BlobLostError when it is refused."""

    def export_state(self, src: int) -> Bytes:
        """A copy of the recurrent state of `src`, which may be a park."""

    def import_state(self, data: Bytes, dst: int) -> None:
        """Replace the recurrent state of `dst`, whose KV is not touched. Raises BlobLostError when it is refused."""

    def length(self, seq_id: int) -> int:
        """How many tokens a live sequence holds."""

    def sampler(self, settings: SamplingSettings, grammar: Grammar | None) -> Sampler:
        """A sampler for one generation. Raises EngineError when the grammar does not parse."""

    def tokenize(self, text: bytes, *, parse_special: bool) -> IntArray:
        """Tokens of UTF-8 text, nothing added. Control tokens are recognised only with `parse_special`."""

    def piece(self, token: int, *, special: bool) -> bytes:
        """Bytes of a token; b"" for a control token unless `special`. They may be part of a UTF-8 character."""

    def is_end(self, token: int) -> bool:
        """Whether the token ends a generation."""

    def close(self) -> None:
        """Free context and model. Harmless when repeated."""
