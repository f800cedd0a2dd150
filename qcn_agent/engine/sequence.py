"""One generation: its request, its state and its counters."""

import enum
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qcn_agent.engine.backend import Sampler
from qcn_agent.engine.generator import (
    EndReason,
    Finished,
    FloatArray,
    GenerationRequest,
    IntArray,
    PrefillProgress,
    TextDelta,
    TokenLogprob,
    Usage,
)
from qcn_agent.engine.origin import NOWHERE, Origin
from qcn_agent.engine.policy import Turn
from qcn_agent.engine.residency import Branch
from qcn_agent.engine.session import Prepared
from qcn_agent.engine.stream import EventStream
from qcn_agent.engine.text import IncrementalDetokenizer


class SequenceState(enum.Enum):
    """Where a generation is. FINISHED and CANCELLED are final."""

    WAITING = enum.auto()
    PREFILL = enum.auto()
    DECODE = enum.auto()
    FINISHED = enum.auto()
    CANCELLED = enum.auto()


@dataclass(eq=False)
class Sequence:
    """Owned by the engine thread once submitted; only `cancel` may be called from elsewhere. Times are in seconds."""

    request: GenerationRequest
    stream: EventStream
    state: SequenceState = SequenceState.WAITING
    turn: Turn = Turn.LONG_PREFILL  # the class it waits in
    session: Branch | None = None
    sampler: Sampler | None = None
    cuts: tuple[int, ...] = ()  # prompt positions where a snapshot is due
    tokens: list[int] = field(default_factory=list)
    num_reused_tokens: int = 0
    num_evaluated_tokens: int = 0
    num_drafted_tokens: int = 0
    num_accepted_tokens: int = 0
    num_repeated_tokens: int = 0
    steps_waited: int = 0
    num_aborts: int = 0  # of the chunk it is at
    num_failures: int = 0
    served_at: int = 0  # number of the latest step it had part in
    cancelled: bool = False
    is_superseded: bool = False  # cancelled because its session asked for something newer
    is_blocked: bool = False  # another generation has to end first
    needs_room: bool = False  # and so many cells that a completion's will not do
    clock: Callable[[], float] = time.perf_counter
    submitted_at: float = 0.0  # 0: now
    prefill_at: float = 0.0
    decode_at: float = 0.0
    first_token_at: float = 0.0
    origin: Origin = NOWHERE  # of the reused part of its prompt
    restore_s: float = 0.0  # what it took to have that ready

    def __post_init__(self) -> None:
        self.path: IntArray = self.request.prompt  # to be in the cache before the next token is drawn
        self._latest = np.empty(1, np.int32)  # the token drawn last
        self.unread: IntArray = self._latest  # drawn, and to be fed back; the latest token is its last
        self.submitted_at = self.submitted_at or self.clock()
        deadline_ms = self.request.deadline_ms
        self.expires_at = math.inf if deadline_ms is None else self.submitted_at + deadline_ms / 1e3
        self.kept_logits: FloatArray | None = None  # of the path's end, when nothing of it has to be read
        self._detokenizer = IncrementalDetokenizer(self.request.stop)
        self._text = ""  # certain, and not sent yet
        self._unsent: list[int] = []
        self._logprobs: list[TokenLogprob] = []  # of the unsent tokens
        self._is_first = True  # somebody waits for the first text

    @property
    def num_cached_tokens(self) -> int:
        """How much of its path is in the cache."""
        return 0 if self.session is None else len(self.session.ledger)

    @property
    def next_position(self) -> int:
        """Where the next token to be drawn stands."""
        return len(self.request.prompt) + len(self.tokens)

    @property
    def num_missing_tokens(self) -> int:
        """How much of its path is to be read."""
        return len(self.path) - self.num_cached_tokens

    def is_late(self, now: float) -> bool:
        """Whether its first token can no longer come in time."""
        return now > self.expires_at and not self.tokens

    def start(self, prepared: Prepared, restore_s: float, now: float) -> None:
        """It has a place in the cache, found in `restore_s` seconds."""
        if not self.prefill_at:
            self.prefill_at, self.restore_s, self.origin = now, restore_s, prepared.session.origin
            self.num_reused_tokens = prepared.num_reused_tokens
        self.session, self.cuts, self.kept_logits = prepared.session, prepared.cuts, prepared.logits
        self.state = SequenceState.PREFILL

    def rewind(self, state: SequenceState) -> None:
        """What was drawn becomes part of the path, which has to be read again as far as the cache lost it."""
        self.path = np.concatenate([self.request.prompt, np.array(self.tokens, np.int32)])
        self.state = state

    def suspend(self) -> None:
        """Its place in the cache is given to another; it goes on when one has ended."""
        self.rewind(SequenceState.WAITING)
        self.session, self.is_blocked = None, True

    def take_back(self, tokens: IntArray) -> None:
        """The cache lost tokens that were fed back: they are to be read again, before the latest one."""
        self.unread = np.concatenate([tokens, self._latest])

    def cancel(self) -> None:
        """Ask to stop at the next step. Any thread."""
        self.cancelled = True

    def send_progress(self, num_done_tokens: int) -> None:
        """Tell the consumer how far the prompt is."""
        self.stream.push(PrefillProgress(num_done_tokens, len(self.request.prompt)), urgent=True)

    def append(self, token: int, piece: bytes, logprob: TokenLogprob | None = None) -> bool:
        """Take a drawn token. Text that became certain is sent when the consumer is due to be woken.

        True when a stop string was completed.
        """
        if logprob is not None:
            self._logprobs.append(logprob)
        if not self.tokens:
            self.first_token_at = self.clock()
        self.tokens.append(token)
        self._latest[0] = token
        self.unread = self._latest
        self._unsent.append(token)
        self._text += self._detokenizer.push(piece)
        if self._text and (self._is_first or self.stream.is_due):
            self._send()
        return self._detokenizer.stopped

    def finish(self, reason: EndReason) -> None:
        """Send what was held back and the last event."""
        self._text += self._detokenizer.flush()
        if self._text or self._unsent:
            self._send()
        self.state = SequenceState.FINISHED
        self.stream.push(Finished(reason, np.array(self.tokens, np.int32), self.usage()))
        self._end(None)

    def abandon(self, error: Exception | None) -> None:
        """End without an answer: with an error, or silently when the consumer has gone or asks for something newer."""
        self.state = SequenceState.CANCELLED
        self._end(error)

    def usage(self) -> Usage:
        """Costs so far."""
        now = self.clock()
        return Usage(
            num_prompt_tokens=len(self.request.prompt),
            num_reused_tokens=self.num_reused_tokens,
            num_evaluated_tokens=self.num_evaluated_tokens,
            num_generated_tokens=len(self.tokens),
            num_drafted_tokens=self.num_drafted_tokens,
            num_accepted_tokens=self.num_accepted_tokens,
            num_repeated_tokens=self.num_repeated_tokens,
            steps_waited=self.steps_waited,
            queue_ms=1e3 * ((self.prefill_at or now) - self.submitted_at),
            prefill_ms=1e3 * ((self.decode_at or now) - (self.prefill_at or now)),
            decode_ms=1e3 * (now - (self.decode_at or now)),
        )

    def _send(self) -> None:
        self.stream.push(TextDelta(self._text, tuple(self._unsent), tuple(self._logprobs)), urgent=self._is_first)
        self._is_first, self._text = False, ""
        self._unsent.clear()
        self._logprobs.clear()

    def _end(self, error: Exception | None) -> None:
        if self.sampler is not None:
            self.sampler.close()
        self.stream.close(error)


def fairness(sequence: Sequence) -> tuple[bool, int, float]:
    """Sort key within a class: prompts before tokens, then who was served longest ago."""
    return sequence.state is SequenceState.DECODE, sequence.served_at, sequence.submitted_at
