"""A generator that says what a test tells it to, over a byte vocabulary: real tokens and counters, no model."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np

from qcn_agent.engine.generator import Event, Finished, GenerationRequest, IntArray, TextDelta, Usage

SPECIALS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
END = 256 + SPECIALS.index("<|im_end|>")


class ByteVocabulary:
    """Tokens are the bytes of UTF-8 text; control tokens stand above them."""

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> IntArray:
        """One token a byte; a special piece is one control token."""
        tokens: list[int] = []
        for text, special in pieces:
            tokens += [256 + SPECIALS.index(text)] if special else text.encode()
        return np.array(tokens, dtype=np.int32)

    def decode(self, tokens: IntArray, *, special: bool = False) -> str:
        """The text again."""
        parts = [SPECIALS[t - 256].encode() if t >= 256 else bytes([t]) for t in tokens if special or t < 256]
        return b"".join(parts).decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        """Whether it is <|im_end|>."""
        return token == END


class ScriptedGenerator:
    """Says `turns` one after another; a turn may be a function of the prompt's text. Past the end it says "done"."""

    n_ctx = 200_000

    def __init__(self, turns: Sequence[str | Callable[[str], str]], *, gate: asyncio.Event | None = None) -> None:
        self.vocabulary = ByteVocabulary()
        self.requests: list[GenerationRequest] = []
        self.dropped: list[str] = []
        self._turns = list(turns)
        self._known: list[IntArray] = []
        self._gate = gate

    def prompts(self) -> list[str]:
        """The text of every prompt so far, control tokens included."""
        return [self.vocabulary.decode(request.prompt, special=True) for request in self.requests]

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream the next scripted turn."""
        self.requests.append(request)
        if self._gate is not None:
            await self._gate.wait()
        turn = self._turns.pop(0) if self._turns else "done"
        text = turn if isinstance(turn, str) else turn(self.prompts()[-1])
        tokens = np.concatenate([self.vocabulary.encode([(text, False)]), [END]]).astype(np.int32)
        cut = len(tokens) > request.max_new_tokens
        tokens = tokens[: request.max_new_tokens]
        spoken = self.vocabulary.decode(tokens)
        for start in range(0, len(spoken), 7):
            yield TextDelta(spoken[start : start + 7], ())
        reused = max((_shared(request.prompt, path) for path in self._known), default=0)
        self._known.append(np.concatenate([request.prompt, tokens]))
        usage = Usage(len(request.prompt), reused, len(request.prompt) - reused + len(tokens), len(tokens))
        yield Finished("length" if cut else "stop", tokens, usage)

    def drop_session(self, name: str) -> None:
        """Remember that it was asked to."""
        self.dropped.append(name)


def call(name: str, **arguments: str) -> str:
    """A well-formed tool call."""
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    return f"<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>"


def _shared(a: IntArray, b: IntArray) -> int:
    n = min(len(a), len(b))
    different = np.flatnonzero(a[:n] != b[:n])
    return int(different[0]) if len(different) else n
