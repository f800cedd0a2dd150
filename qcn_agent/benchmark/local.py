"""Our side: the engine in this process, asked through its public interface."""

import asyncio
import os
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np

from qcn_agent.benchmark.arms import Answer, Ask, Memory, resident_mib
from qcn_agent.benchmark.held import Held
from qcn_agent.config import ModelConfig, SchedulerConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import (
    Event,
    Finished,
    GenerationRequest,
    PrefillProgress,
    Priority,
    SamplingParams,
    TextDelta,
    Usage,
)

_ENDS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")


def num_evaluated_prompt_tokens(usage: Usage) -> int:
    """Prompt tokens decoded: all that was, without the generated tokens fed back. The last one of these never is."""
    return usage.num_evaluated_tokens - max(0, usage.num_generated_tokens - 1)


class LocalArm:
    """See `Arm`. `trace`: a file for a trace of the engine. The disk tier is off: nothing goes to the user's cache."""

    name = "qcn-agent"

    def __init__(
        self, config: ModelConfig, path: Path, scheduling: SchedulerConfig | None = None, trace: Path | None = None
    ) -> None:
        self._config = replace(config, disk_cache_mb=0)
        self._path = path
        self._scheduling = scheduling or SchedulerConfig()
        self._trace = trace
        self._engine: Engine | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._sampling = SamplingParams()

    @property
    def engine(self) -> Engine:
        """The engine, between `start` and `close`."""
        if self._engine is None:
            raise RuntimeError("the engine is not loaded")
        return self._engine

    def start(self) -> None:
        """Load the model. Raises ModelError."""
        self._engine = Engine.load(self._config, self._path, scheduling=self._scheduling, trace=self._trace)
        ends = {int(self._engine.metadata[key]) for key in _ENDS if key in self._engine.metadata}
        self._sampling = SamplingParams(temperature=0.0, logit_bias=tuple((end, float("-inf")) for end in sorted(ends)))
        self._thread.start()

    def submit(self, ask: Ask) -> "Future[Answer]":
        """See `Arm.submit`."""
        return asyncio.run_coroutine_threadsafe(self._complete(ask), self._loop)

    def memory(self) -> Memory:
        """See `Arm.memory`."""
        status = self.engine.status()
        held = Held(status.num_device_states, status.peak_host_states, status.peak_host_tokens)
        return Memory(held, resident_mib(os.getpid()))

    def kill(self) -> None:
        """As `close`: it can't be killed without its owner."""
        self.close()

    def close(self) -> None:
        """See `Arm.close`."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        if not self._loop.is_closed():
            self._loop.close()
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    async def _complete(self, ask: Ask) -> Answer:
        priority = Priority.COMPLETION if ask.is_completion else Priority.INTERACTIVE
        prompt = np.array(ask.prompt, np.int32)
        request = GenerationRequest(ask.session, prompt, ask.num_new, ask.boundaries, self._sampling, priority=priority)
        begin, events = time.perf_counter(), list[tuple[float, Event]]()
        async for event in self.engine.generate(request):
            events.append((1e3 * (time.perf_counter() - begin), event))
        return to_answer(events, wants_times=ask.wants_times)


def to_answer(events: list[tuple[float, Event]], *, wants_times: bool) -> Answer:
    """Sum up the events of a generation, each with its time in milliseconds. Raises RuntimeError without an end."""
    total_ms, finished = events[-1] if events else (0.0, None)
    if not isinstance(finished, Finished):
        raise RuntimeError("a generation ended without Finished")
    times: list[tuple[float, int]] = []
    for now, event in events:
        if isinstance(event, TextDelta):
            times.append((now, len(event.tokens) + (times[-1][1] if times else 0)))
    return Answer(
        tokens=tuple(finished.tokens.tolist()),
        num_evaluated=num_evaluated_prompt_tokens(finished.usage),
        num_cached=finished.usage.num_reused_tokens,
        total_ms=total_ms,
        first_ms=times[0][0] if times else total_ms,
        steps_waited=finished.usage.steps_waited,
        times_ms=tuple(times) if wants_times else (),
        chunks_ms=tuple(now for now, event in events if isinstance(event, PrefillProgress)) if wants_times else (),
    )
