"""Answers compared with those of an engine that has never seen their prompts."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from qcn_agent.config import ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Finished, GenerationRequest, IntArray, SamplingParams, TextDelta, TokenLogprob
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_model import load_model
from tests.bench.soak_clients import Answered
from tests.engine.replay import other_replays

Likeliest = Callable[[IntArray], set[int]]  # the greedy tokens after a path, read in calls of several sizes

TIE = 5e-3  # in logits, which have a standard deviation of about one; see "Sameness" in the engine's README
_ASKED = SamplingParams(temperature=0.0, top_logprobs=8)


class Replay:
    """`cold` forgets each prompt as soon as it is answered.

    The expert router may decide a near tie by rounding (see tests/engine/walk.py), after which logits differ by more
    than TIE. So a token is also right if it is the likeliest one when its path is read in calls of another size.
    """

    def __init__(self, cold: Engine, likeliest: Likeliest) -> None:
        self._cold = cold
        self._likeliest = likeliest
        self._numbers = itertools.count()
        self.num_compared = 0
        self.num_tokens = 0  # that agreed
        self.num_ties = 0
        self.widest_tie = 0.0
        self.wrong: list[str] = []

    async def check(self, answered: Answered) -> None:
        """Generate the answer anew. Where it differs first, both tokens must have been as good as equal."""
        session = f"cold-{next(self._numbers)}"
        request = GenerationRequest(session, answered.prompt, len(answered.tokens), sampling=_ASKED)
        logprobs: list[TokenLogprob] = []
        tokens: Sequence[int] = ()
        async for event in self._cold.generate(request):
            if isinstance(event, TextDelta):
                logprobs += event.logprobs
            elif isinstance(event, Finished):
                if event.usage.num_reused_tokens:
                    raise RuntimeError("the cold engine is not cold")
                tokens = event.tokens.tolist()
        self._cold.drop_session(session)
        self.compare(answered, tokens, logprobs)

    def compare(self, answered: Answered, tokens: Sequence[int], logprobs: Sequence[TokenLogprob]) -> None:
        """Count an answer beside the cold one: the same, a tie, or wrong."""
        self.num_compared += 1
        ours = answered.tokens.tolist()
        agreed = next((n for n, (a, b) in enumerate(zip(ours, tokens, strict=False)) if a != b), None)
        self.num_tokens += len(ours) if agreed is None else agreed
        if agreed is None and len(ours) == len(tokens):
            return
        margin = float("inf")
        if agreed is not None:
            margin = logprobs[agreed].logprob - dict(logprobs[agreed].top).get(ours[agreed], float("-inf"))
        if agreed is not None and margin > TIE:
            path = np.concatenate([answered.prompt, answered.tokens[:agreed]]).astype(np.int32)
            margin = 0.0 if ours[agreed] in self._likeliest(path) else margin
        if margin > TIE:
            what = f"{answered.kind}, {len(answered.prompt)} tokens"
            self.wrong.append(f"{what}: {ours} is not {list(tokens)}, {margin:.4f}")
            return
        self.num_ties += 1
        self.widest_tie = max(self.widest_tie, margin)


class OtherCalls:
    """`Likeliest`, over a context of its own."""

    def __init__(self, path: Path, config: ModelConfig) -> None:
        self._backend = LlamaBackend(load_model(config, (path,)), config)

    def __call__(self, tokens: IntArray) -> set[int]:
        """Of calls of 1, 8, and as many tokens as possible."""
        return {int(logits.argmax()) for logits in other_replays(self._backend, tokens)}

    def close(self) -> None:
        """Free it."""
        self._backend.close()
