"""Our policy in earnest: `python -m tests.bench.policy_times`, the embedded model computing and the recorded text said.

Every request is read and decoded by the real engine; only its words are replaced, token by token, by those of the
recording, so that what is shown is of use and is typed through. Passages with and without an agent that writes take
turns. Times are those of the `Completer` from the key on, the debounce included.
"""

import argparse
import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from qcn_agent.completion.service import Completer
from qcn_agent.config import CompletionConfig, ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import (
    Event,
    Finished,
    GenerationRequest,
    IntArray,
    Priority,
    SamplingParams,
    TextDelta,
)
from qcn_agent.models.embedded import embedded_model_path
from tests.bench.policy_bench import RATES, SLOWER
from tests.bench.policy_oracle import Recording, Speaker, an_end
from tests.bench.policy_replay import Ours, Scene, type_passage
from tests.bench.policy_screen import Screen
from tests.bench.report import Target, conclude, progress, table
from tests.bench.stats import quantile
from tests.bench.typing_traces import passage

HIT_MS = 15.0
AGENT = GenerationRequest("agent", np.arange(300, 600, dtype=np.int32), 4000, sampling=SamplingParams(temperature=0.0))


class Spoken:
    """A `Generator`: the engine's work with the recording's words. `speaker` may be exchanged between requests."""

    def __init__(self, engine: Engine, speaker: Speaker) -> None:
        self.vocabulary = engine.vocabulary
        self.n_ctx = engine.n_ctx
        self.speaker = speaker
        self._engine = engine
        ends = (token for token in range(engine.n_vocab) if engine.vocabulary.is_end(token))
        self._no_end = tuple((token, float("-inf")) for token in ends)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Generator.generate`."""
        answer, is_whole = self._answer(request)
        sampling = replace(request.sampling, logit_bias=self._no_end)
        number = max(1, min(request.max_new_tokens, len(answer)))
        num_said = 0
        async for event in self._engine.generate(replace(request, sampling=sampling, stop=(), max_new_tokens=number)):
            if isinstance(event, TextDelta):
                tokens = answer[num_said : num_said + len(event.tokens)]
                num_said += len(event.tokens)
                yield TextDelta(self.vocabulary.decode(np.array(tokens, np.int32)), tuple(tokens))
            elif isinstance(event, Finished) and event.reason == "length" and is_whole and number >= len(answer):
                yield replace(event, reason="stop")
            else:
                yield event

    def drop_session(self, name: str) -> None:
        """See `Generator.drop_session`."""
        self._engine.drop_session(name)

    def _answer(self, request: GenerationRequest) -> tuple[list[int], bool]:
        """The tokens up to a stop string or the end, and whether that is reached within the request's limit."""
        said: list[int] = []
        path: IntArray = request.prompt
        while len(said) < request.max_new_tokens:
            token = self.speaker(path)
            text = self.vocabulary.decode(np.array([*said, token], np.int32))
            if self.vocabulary.is_end(token) or any(stop in text for stop in request.stop):
                return said, True
            said.append(token)
            path = np.append(path, np.int32(token))
        return said, False


@dataclass
class Times:
    """Of one condition: milliseconds of replies by their source, and how many keys had something useful."""

    by_source: dict[str, list[float]] = field(default_factory=dict)
    num_keys: int = 0
    num_useful: int = 0

    def add(self, ours: Ours, screen: Screen) -> None:
        """A passage."""
        self.num_keys += screen.num_keys
        self.num_useful += screen.num_useful
        for source, took_ms in ours.took_ms:
            self.by_source.setdefault(source, []).append(took_ms)

    @property
    def model_ms(self) -> list[float]:
        """Of replies that the model was asked for."""
        return [*self.by_source.get("model", []), *self.by_source.get("stream", [])]

    @property
    def hit_ms(self) -> list[float]:
        """Of those that it was not."""
        return self.by_source.get("cache", [])


async def typed(engine: Engine, recording: Recording, gap_ms: float, seed: int, times: Times) -> None:
    """Type one passage in real time."""
    end = an_end(engine.vocabulary.is_end, engine.n_vocab)
    generator = Spoken(engine, Speaker(recording, engine.vocabulary, end))
    completer = Completer(generator, CompletionConfig(min_logprob=-100.0))
    screen = Screen(recording)
    ours = Ours(completer, screen)
    await type_passage(ours, screen, Scene(recording, gap_ms, RATES, seed))
    completer.close("editor")
    times.add(ours, screen)


async def write_on(engine: Engine) -> None:
    """An agent that decodes without end."""
    while True:
        async for _ in engine.generate(replace(AGENT, priority=Priority.INTERACTIVE)):
            pass


async def measure(engine: Engine, num_passages: int, num_lines: int, gap_ms: float) -> dict[str, Times]:
    """Each passage alone and beside the agent."""
    times = {"idle": Times(), "agent writes": Times()}
    for seed in range(num_passages):
        recording = Recording(passage(seed, num_lines))
        for name, of in times.items():
            progress(f"passage {seed + 1} of {num_passages}, {name}")
            beside = asyncio.create_task(write_on(engine)) if name != "idle" else None
            await typed(engine, recording, gap_ms, seed, of)
            if beside is not None:
                beside.cancel()
                await asyncio.gather(beside, return_exceptions=True)
    return times


def row(name: str, of: Times) -> list[str]:
    """One condition."""
    spread = [f"{quantile(ms, 0.5):.1f} / {quantile(ms, 0.95):.1f}" for ms in (of.hit_ms, of.model_ms)]
    useful = f"{of.num_useful / max(1, of.num_keys):.0%}"
    return [name, str(of.num_keys), useful, str(len(of.hit_ms)), spread[0], str(len(of.model_ms)), spread[1]]


def targets(times: dict[str, Times]) -> list[Target]:
    """Hits come at once; an agent hardly slows the others down."""
    idle, busy = (quantile(of.model_ms, 0.95) for of in times.values())
    hit = quantile([ms for of in times.values() for ms in of.hit_ms], 0.95)
    text = f"p95 of what the model is asked for while the agent writes ≤ {SLOWER} × idle"
    return [
        Target(f"p95 of a hit ≤ {HIT_MS:.0f} ms", f"{hit:.1f} ms", 0 < hit <= HIT_MS),
        Target(text, f"{busy:.0f} / {idle:.0f} ms", 0 < busy <= SLOWER * idle),
    ]


def main() -> None:
    """Type, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=4)
    parser.add_argument("--lines", type=int, default=6)
    parser.add_argument("--pace", type=float, default=120.0, help="milliseconds a key")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    engine = Engine.load(
        ModelConfig(n_ctx=16384, max_states=12, disk_cache_mb=0, host_cache_mb=0), embedded_model_path()
    )
    try:
        times = asyncio.run(measure(engine, options.passages, options.lines, options.pace))
    finally:
        engine.close()
    header = ["", "keys", "useful", "hits", "p50 / p95, ms", "asked", "p50 / p95, ms"]
    print(table(header, [row(name, of) for name, of in times.items()]) + "\n")
    conclude(targets(times), {name: vars(of) for name, of in times.items()}, options.json)


if __name__ == "__main__":
    main()
