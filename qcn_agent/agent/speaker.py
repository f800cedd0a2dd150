"""Turns a transcript into the model's next turn, and keeps the account of tokens."""

from dataclasses import dataclass, field

import numpy as np

from qcn_agent.agent.events import Emit, RunEvent
from qcn_agent.agent.outcome import Totals
from qcn_agent.agent.toolcall import ProseStream
from qcn_agent.agent.transcript import Transcript
from qcn_agent.engine.generator import (
    Finished,
    GenerationRequest,
    Generator,
    IntArray,
    SamplingParams,
    TextDelta,
    Usage,
)
from qcn_agent.engine.grammar import Grammar
from qcn_agent.errors import ContextFullError, EngineError


@dataclass(frozen=True)
class Spoken:
    """One assistant turn: its text, and the transcript with it appended. `cut` when the length limit ended it."""

    text: str
    transcript: Transcript
    num_tokens: int
    cut: bool


@dataclass
class Speaker:
    """Makes turns in one engine session, of the project with that tag (`paths.project_tag`; empty: of none)."""

    generator: Generator
    session: str
    max_turn_tokens: int
    grammar: Grammar | None
    totals: Totals
    emit: Emit
    project: str = ""
    _longest: list[IntArray] = field(default_factory=list)

    async def speak(self, transcript: Transcript, sampling: SamplingParams, max_tokens: int) -> Spoken:
        """Sample the next turn of at most `max_tokens`. Raises ContextFullError when there is no room left for one."""
        prompt = transcript.ask()
        room = self.generator.n_ctx - len(prompt.tokens)
        if room < 1:
            raise ContextFullError(f"the conversation fills the context of {self.generator.n_ctx} tokens")
        request = GenerationRequest(
            session=self.session,
            prompt=prompt.tokens,
            max_new_tokens=min(self.max_turn_tokens, max_tokens, room),
            boundaries=prompt.boundaries,
            sampling=sampling,
            grammar=self.grammar,
            project=self.project,
            num_anchors=prompt.num_anchors,
        )
        text, finished = await self._stream(request)
        self._account(prompt.tokens, finished)
        return Spoken(text, prompt.answer(finished.tokens), len(finished.tokens), finished.reason == "length")

    async def _stream(self, request: GenerationRequest) -> tuple[str, Finished]:
        prose, parts = ProseStream(), list[str]()
        async for event in self.generator.generate(request):
            if isinstance(event, TextDelta):
                parts.append(event.text)
                if shown := prose.feed(event.text):
                    self.emit(RunEvent("text", {"text": shown}))
            elif isinstance(event, Finished):
                return "".join(parts), event
        raise EngineError("the generation ended without an end")

    def _account(self, prompt: IntArray, finished: Finished) -> None:
        usage, totals = finished.usage, self.totals
        totals.num_steps += 1
        totals.num_prompt_tokens += usage.num_prompt_tokens
        totals.num_reused_tokens += usage.num_reused_tokens
        totals.num_evaluated_tokens += usage.num_evaluated_tokens
        totals.num_generated_tokens += usage.num_generated_tokens
        totals.num_new_prompt_tokens += len(prompt) - max((_shared(prompt, path) for path in self._longest), default=0)
        self._longest.append(np.concatenate([prompt, finished.tokens]))
        self.emit(RunEvent("usage", usage_json(usage)))


def _shared(a: IntArray, b: IntArray) -> int:
    """Length of the common prefix."""
    n = min(len(a), len(b))
    different = np.flatnonzero(a[:n] != b[:n])
    return int(different[0]) if len(different) else n


def usage_json(usage: Usage) -> dict[str, float]:
    """The counters of one turn, with its speeds in tokens a second."""
    decode_s, prefill_s = usage.decode_ms / 1e3, usage.prefill_ms / 1e3
    num_prefilled = usage.num_prompt_tokens - usage.num_reused_tokens
    return {
        "num_prompt_tokens": usage.num_prompt_tokens,
        "num_reused_tokens": usage.num_reused_tokens,
        "num_generated_tokens": usage.num_generated_tokens,
        "decode_tokens_per_s": usage.num_generated_tokens / decode_s if decode_s else 0.0,
        "prefill_tokens_per_s": num_prefilled / prefill_s if prefill_s else 0.0,
    }
