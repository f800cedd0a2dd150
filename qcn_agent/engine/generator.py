"""The protocol between whoever wants tokens and whoever makes them.

The local engine implements it; so will a client of a remote server. Prompts are whole token paths: what of a path
is cached already is the engine's business, never the caller's.
"""

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.status import EngineStatus

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]
EndReason = Literal["stop", "length", "deadline"]


class Priority(enum.IntEnum):
    """Who waits for the answer. The lower value goes first.

    COMPLETION: someone types; the next completion of the same session ends this one, queued or running, at the next
    step, and its iterator then ends without an event, as after a cancel. INTERACTIVE: someone waits. BACKGROUND: nobody
    does; runs while nothing else wants to, and now and then.
    """

    COMPLETION = 0
    INTERACTIVE = 1
    BACKGROUND = 2


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is drawn. None means the model's own default (its GGUF metadata, else the family's).

    Penalties and DRY look at the answer so far, not at the prompt. DRY lowers a token that would continue a repetition
    of more than `dry_allowed_length` tokens by `dry_multiplier` * `dry_base` ** (length - allowed); 0 is off.
    `logit_bias`: (token, addend) pairs, -inf forbids a token. `top_logprobs`: that many likeliest tokens are reported
    with each token (0: the drawn one alone), as the model saw them before any of these settings; None: nothing is.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int | None = None


@dataclass(frozen=True)
class GenerationRequest:
    """One turn: continue `prompt` (int32, the whole path from position 0) by at most `max_new_tokens`.

    `session` names the conversation, so that its branches share one sequence. `boundaries` are prompt positions
    (numbers of tokens) that a later request is likely to branch from or continue at: the ends of messages. The first
    `num_anchors` of them are what other conversations begin with, too (a system prompt, a repository's head): they are
    kept longest, and on disk.
    Generation ends at an end-of-generation token of the model, at one of the `stop` strings, or at the limit.

    `project` says whose conversation it is (`paths.project_tag`; at most 16 of 0-9 and a-z, empty: nobody's), so that
    what was read of one project can be deleted from the disk.

    `deadline_ms`: the first token is worth nothing later than so many milliseconds after the request. When the rates
    measured so far say that it can't be met, or when it has passed, generation ends with the reason "deadline".
    """

    session: str
    prompt: IntArray
    max_new_tokens: int
    boundaries: tuple[int, ...] = ()
    sampling: SamplingParams = field(default_factory=SamplingParams)
    grammar: Grammar | None = None
    stop: tuple[str, ...] = ()
    priority: Priority = Priority.INTERACTIVE
    deadline_ms: float | None = None
    project: str = ""
    num_anchors: int = 1

    @property
    def anchors(self) -> tuple[int, ...]:
        """The positions of the anchors."""
        return tuple(sorted({position for position in self.boundaries if position > 0})[: self.num_anchors])


@dataclass(frozen=True)
class Usage:
    """What one request cost. prompt = reused + evaluated prompt tokens; times in milliseconds.

    What an abort, a failed call or a suspension made the engine read again counts as evaluated again. Drafts count as
    evaluated when they were accepted; what a rejected one made the engine read again counts as repeated only.
    """

    num_prompt_tokens: int = 0
    num_reused_tokens: int = 0
    num_evaluated_tokens: int = 0  # prompt tokens decoded now, and generated tokens fed back
    num_generated_tokens: int = 0
    num_drafted_tokens: int = 0  # guessed and verified, by speculative decoding
    num_accepted_tokens: int = 0  # of these
    num_repeated_tokens: int = 0  # decoded a second time because a draft after them was wrong
    steps_waited: int = 0  # calls of the model that served other classes only, while this one waited
    queue_ms: float = 0.0  # until it was given a place in the cache
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@dataclass(frozen=True)
class PrefillProgress:
    """So much of the prompt is in the cache."""

    num_done_tokens: int
    num_total_tokens: int


@dataclass(frozen=True)
class TokenLogprob:
    """Natural logarithm of a token's probability, and the likeliest (token, logprob) pairs, best first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class TextDelta:
    """New text and the tokens it came from. Text is held back while a UTF-8 character or a stop string is open.

    `logprobs`, one a token, where they were asked for.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Finished:
    """The last event. `tokens` are all generated tokens, the end-of-generation token included if one was drawn.

    After "deadline" there are none: the first one could not come in time. What was read by then stays in the cache.
    """

    reason: EndReason
    tokens: IntArray
    usage: Usage


Event = PrefillProgress | TextDelta | Finished


class Vocabulary(Protocol):
    """The border between text and token ids."""

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> IntArray:
        """Tokens of (text, special) pieces. Only special pieces may become control tokens: file text never does."""

    def decode(self, tokens: IntArray, *, special: bool = False) -> str:
        """Text of `tokens`; control tokens are left out unless `special`."""

    def is_end(self, token: int) -> bool:
        """Whether `token` ends a generation."""


class Generator(Protocol):
    """Makes tokens."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's vocabulary."""

    @property
    def n_ctx(self) -> int:
        """Longest prompt plus answer of one session, in tokens."""

    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream events; the last is Finished. Closing the iterator or cancelling its task stops at the next step.

        Raises ContextFullError when prompt + max_new_tokens exceed n_ctx, EngineError when evaluation fails.
        """

    def drop_session(self, name: str) -> None:
        """Forget a conversation; what other sessions share stays."""


class LoadedEngine(Generator, Protocol):
    """An engine with its model, in this process or in one of its own."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The scalars of the model's header, as text."""

    @property
    def completion(self) -> Generator:
        """What makes completions: this, or a second model, whose vocabulary and context length then count for them.

        `generate` passes requests of the priority COMPLETION on to it; other work for it has to go to it directly.
        """

    def status(self) -> EngineStatus:
        """A snapshot of the counters."""

    def close(self) -> None:
        """Save the sessions and free the model; blocking. Requests that wait or run end with EngineError."""
