"""One generation: its request, its state and its counters."""

import enum
import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from qcn_agent.engine.backend import Sampler
from qcn_agent.engine.generator import Finished, GenerationRequest, PrefillProgress, TextDelta, Usage
from qcn_agent.engine.residency import Branch
from qcn_agent.engine.stream import EventStream
from qcn_agent.engine.text import IncrementalDetokenizer


class SequenceState(enum.Enum):
    """Where a generation is. FINISHED and CANCELLED are final."""

    WAITING = enum.auto()
    PREFILL = enum.auto()
    DECODE = enum.auto()
    FINISHED = enum.auto()
    CANCELLED = enum.auto()


@dataclass
class Sequence:
    """Owned by the engine thread once submitted; only `cancel` may be called from elsewhere. Times are in seconds."""

    request: GenerationRequest
    stream: EventStream
    state: SequenceState = SequenceState.WAITING
    session: Branch | None = None
    sampler: Sampler | None = None
    cuts: tuple[int, ...] = ()  # prompt positions where a snapshot is due
    tokens: list[int] = field(default_factory=list)
    num_reused_tokens: int = 0
    num_evaluated_tokens: int = 0
    cancelled: bool = False
    submitted_at: float = field(default_factory=time.perf_counter)
    prefill_at: float = 0.0
    decode_at: float = 0.0

    def __post_init__(self) -> None:
        self._detokenizer = IncrementalDetokenizer(self.request.stop)
        self._unsent: list[int] = []
        self._is_first = True  # somebody waits for the first text

    def cancel(self) -> None:
        """Ask to stop at the next step. Any thread."""
        self.cancelled = True

    def send_progress(self, num_done_tokens: int) -> None:
        """Tell the consumer how far the prompt is."""
        self.stream.push(PrefillProgress(num_done_tokens, len(self.request.prompt)), urgent=True)

    def append(self, token: int, piece: bytes) -> bool:
        """Take a drawn token and send the text that became certain. True when a stop string was completed."""
        self.tokens.append(token)
        self._unsent.append(token)
        text = self._detokenizer.push(piece)
        if text:
            self._send(text)
        return self._detokenizer.stopped

    def finish(self, reason: Literal["stop", "length"]) -> None:
        """Send what was held back and the last event."""
        text = self._detokenizer.flush()
        if text or self._unsent:
            self._send(text)
        self.state = SequenceState.FINISHED
        self.stream.push(Finished(reason, np.array(self.tokens, np.int32), self.usage()))
        self._end(None)

    def abandon(self, error: Exception | None) -> None:
        """End without an answer: with an error, or silently when the consumer has gone."""
        self.state = SequenceState.CANCELLED
        self._end(error)

    def usage(self) -> Usage:
        """Costs so far."""
        now = time.perf_counter()
        return Usage(
            num_prompt_tokens=len(self.request.prompt),
            num_reused_tokens=self.num_reused_tokens,
            num_evaluated_tokens=self.num_evaluated_tokens,
            num_generated_tokens=len(self.tokens),
            queue_ms=1e3 * (self.prefill_at - self.submitted_at),
            prefill_ms=1e3 * (self.decode_at - self.prefill_at),
            decode_ms=1e3 * (now - self.decode_at),
        )

    def _send(self, text: str) -> None:
        self.stream.push(TextDelta(text, tuple(self._unsent)), urgent=self._is_first)
        self._is_first = False
        self._unsent.clear()

    def _end(self, error: Exception | None) -> None:
        if self.sampler is not None:
            self.sampler.close()
        self.stream.close(error)
