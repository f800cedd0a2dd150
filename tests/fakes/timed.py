"""A generator that takes virtual time: so long for each fresh prompt token and for each token it says."""

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np

from qcn_agent.engine.generator import (
    Event,
    Finished,
    GenerationRequest,
    IntArray,
    Priority,
    TextDelta,
    TokenLogprob,
    Usage,
)
from tests.fakes.scripted import END, ByteVocabulary

Speak = Callable[[str], str]


class TimedGenerator:
    """Says `speak(prompt text)`, a byte a token, over a byte vocabulary.

    Reuses from any point of what it has read, as a pure attention model does. A completion ends the one before it of
    its session. `starts`, `stopped`: requests begun, and those whose consumer went away.
    """

    n_ctx = 100_000

    def __init__(self, speak: Speak, *, prefill_ms: float = 0.1, decode_ms: float = 1.0, queue_ms: float = 0.0) -> None:
        self.vocabulary = ByteVocabulary()
        self.prefill_ms, self.decode_ms, self.queue_ms = prefill_ms, decode_ms, queue_ms
        self.logprob: float | None = None
        self.error: Exception | None = None
        self.hangs = False  # says nothing, for ever
        self.starts: list[GenerationRequest] = []
        self.ended: list[Usage] = []
        self.stopped: list[str] = []
        self.dropped: list[str] = []
        self.num_running = 0
        self._speak = speak
        self._known: list[IntArray] = []
        self._newest: dict[str, GenerationRequest] = {}

    def prompt(self, number: int = -1) -> str:
        """The text of a prompt, control tokens included."""
        return self.vocabulary.decode(self.starts[number].prompt, special=True)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream; a byte a delta."""
        self.starts.append(request)
        self.num_running += 1
        try:
            if self.error is not None:
                raise self.error
            if self.hangs:
                await asyncio.Event().wait()
            async for event in self._events(request):
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped.append(request.session)
            raise
        finally:
            self.num_running -= 1

    async def _events(self, request: GenerationRequest) -> AsyncIterator[Event]:
        if request.priority is Priority.COMPLETION:
            self._newest[request.session] = request
        reused = max((_shared(request.prompt, path) for path in self._known), default=0)
        reused = min(reused, len(request.prompt) - 1)
        prefill_ms = self.prefill_ms * (len(request.prompt) - reused)
        if request.deadline_ms is not None and self.queue_ms + prefill_ms > request.deadline_ms:
            yield Finished("deadline", np.empty(0, np.int32), Usage(len(request.prompt)))
            return
        await asyncio.sleep((self.queue_ms + prefill_ms) / 1e3)
        self._known.append(request.prompt)
        text = self._speak(self.vocabulary.decode(request.prompt, special=True))
        cut = min([at for at in (text.find(stop) for stop in request.stop) if at >= 0], default=len(text))
        tokens = np.array([*text[:cut].encode(), END], np.int32)
        said = tokens[: request.max_new_tokens]
        for number, token in enumerate(said.tolist()):
            if number:
                await asyncio.sleep(self.decode_ms / 1e3)
            if self._newest.get(request.session, request) is not request and request.priority is Priority.COMPLETION:
                return
            if token != END:
                logprobs = () if self.logprob is None else (TokenLogprob(token, self.logprob),)
                yield TextDelta(chr(token), (token,), logprobs)
        yield self._finished(request, reused, prefill_ms, said, is_cut=len(tokens) > len(said))

    def _finished(
        self, request: GenerationRequest, reused: int, prefill_ms: float, said: IntArray, *, is_cut: bool
    ) -> Finished:
        usage = Usage(
            num_prompt_tokens=len(request.prompt),
            num_reused_tokens=reused,
            num_evaluated_tokens=len(request.prompt) - reused + len(said) - 1,
            num_generated_tokens=len(said),
            queue_ms=self.queue_ms,
            prefill_ms=prefill_ms,
            decode_ms=self.decode_ms * (len(said) - 1),
        )
        self.ended.append(usage)
        return Finished("length" if is_cut else "stop", said, usage)

    def drop_session(self, name: str) -> None:
        """Remember that it was asked to."""
        self.dropped.append(name)


def _shared(one: IntArray, other: IntArray) -> int:
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
