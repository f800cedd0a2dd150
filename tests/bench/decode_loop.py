"""What the engine adds to a bare decode loop, per token: `python tests/bench/decode_loop.py [MODEL.gguf]`.

Arm A calls llama_decode and the same sampler chain directly. Arm B consumes Engine.generate on an asyncio loop. Rounds
are interleaved, and each pair reads the same prompt and makes the same number of tokens.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from qcn_agent.config import ModelConfig
from qcn_agent.engine.backend import Run
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import (
    Finished,
    FloatArray,
    GenerationRequest,
    IntArray,
    PrefillProgress,
    SamplingParams,
)
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.llama_model import load_model
from qcn_agent.engine.llama_sampler import LlamaSampler, build_chain
from qcn_agent.engine.sampling import SamplingSettings
from qcn_agent.engine.stream import EventStream
from qcn_agent.engine.text import IncrementalDetokenizer
from qcn_agent.models.embedded import embedded_model_path

MIN_TOKENS = 8000
ROUND_TOKENS = 100
TARGET_US = 60.0
CONFIG = ModelConfig(disk_cache_mb=0, n_ctx=8192)
PROMPT = "def fibonacci(n):\n    previous, current = 0, 1\n"


class BareLoop:
    """The least that makes tokens: one batch, one chain, no text, no events."""

    def __init__(self, path: Path) -> None:
        self._backend = LlamaBackend(load_model(CONFIG, (path,)), CONFIG)
        self._context: Any = self._backend._context
        self._batch = api.llama_batch_init(1, 0, 1)
        self._chain = build_chain(self._backend.n_vocab, SamplingSettings())

    def run(self, prompt: IntArray, num_tokens: int) -> float:
        """Microseconds per token over `num_tokens` draws after the prompt."""
        self._backend.drop(0)
        self._backend.decode([Run(0, prompt, 0, True)])
        batch, context, chain = self._batch, self._context, self._chain
        batch.n_tokens, batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 1, 0, 1
        begin = time.perf_counter()
        for position in range(len(prompt), len(prompt) + num_tokens):
            token = api.llama_sampler_sample(chain, context, -1)
            batch.token[0], batch.pos[0] = token, position
            api.llama_decode(context, batch)
        api.llama_synchronize(context)
        return (time.perf_counter() - begin) / num_tokens * 1e6


async def run_engine(engine: Engine, prompt: IntArray, seed: int) -> tuple[float, int]:
    """(Microseconds per token from the end of prefill to the last event, number of tokens)."""
    request = GenerationRequest("bench", prompt, ROUND_TOKENS, sampling=SamplingParams(seed=seed))
    begin = 0.0
    async for event in engine.generate(request):
        if isinstance(event, PrefillProgress):
            begin = time.perf_counter()
        elif isinstance(event, Finished):
            count = event.usage.num_generated_tokens
            return (time.perf_counter() - begin) / count * 1e6, count
    raise AssertionError("a generation ended without Finished")


def measure(engine: Engine, bare: BareLoop) -> tuple[list[float], list[float], int]:
    """Per-round microseconds per token of both arms, and the number of tokens of each."""
    prompt = engine.vocabulary.encode([(PROMPT, False)])
    bare_us: list[float] = []
    engine_us: list[float] = []
    total = seed = 0
    while total < MIN_TOKENS:
        seed += 1
        us, count = asyncio.run(run_engine(engine, prompt, seed))
        if count < ROUND_TOKENS // 2:  # too short to time
            continue
        engine_us.append(us)
        bare_us.append(bare.run(prompt, count))  # each round right after its partner
        total += count
    return bare_us, engine_us, total


class Clock:
    """Adds up the time spent in functions, by name, in microseconds."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + (time.perf_counter() - begin) * 1e6

        return call


def where_time_goes(engine: Engine) -> dict[str, float]:
    """Microseconds per token inside each stage of the engine thread, from an instrumented run of its own."""
    clock, count = Clock(), 0
    prompt = engine.vocabulary.encode([(PROMPT, False)])
    with (
        patch.object(LlamaBackend, "decode", clock.timed("decode", LlamaBackend.decode)),
        patch.object(LlamaSampler, "sample", clock.timed("sample", LlamaSampler.sample)),
        patch.object(IncrementalDetokenizer, "push", clock.timed("detokenize", IncrementalDetokenizer.push)),
        patch.object(EventStream, "push", clock.timed("notify", EventStream.push)),
    ):
        begin = time.perf_counter()
        for seed in range(1, 11):
            count += asyncio.run(run_engine(engine, prompt, seed))[1]
    clock.spent["all"] = (time.perf_counter() - begin) * 1e6
    return {name: us / count for name, us in clock.spent.items()}


def bootstrap(samples: FloatArray, draws: int = 4000) -> tuple[float, float]:
    """95% interval of the median."""
    random = np.random.default_rng(0)
    medians = np.median(random.choice(samples, (draws, len(samples))), axis=1)
    return float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))


def say(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")


def main() -> None:
    """Measure, print, judge."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else embedded_model_path()
    with tempfile.TemporaryDirectory() as home:
        os.environ["QCN_AGENT_HOME"] = home
        engine, bare = Engine.load(CONFIG, path), BareLoop(path)
    bare_us, engine_us, total = measure(engine, bare)
    difference = np.array(engine_us, np.float32) - np.array(bare_us, np.float32)
    low, high = bootstrap(difference)
    overhead = float(np.median(difference))
    say(f"model {path.name}: {total} tokens an arm in {len(difference)} interleaved rounds, medians of rounds")
    say(f"bare loop      {np.median(bare_us):8.1f} us/token")
    say(f"Engine.generate{np.median(engine_us):8.1f} us/token")
    say(f"overhead       {overhead:8.1f} us/token, 95% interval {low:.1f} .. {high:.1f} (target <= {TARGET_US:.0f})")
    for name, us in where_time_goes(engine).items():
        say(f"  {name:22}{us:8.1f} us/token")
    engine.close()
    say(f"VERDICT: {int(overhead <= TARGET_US)} of 1")


if __name__ == "__main__":
    main()
