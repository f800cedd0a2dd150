"""Our policy in real time, the embedded model computing and the recording speaking."""

from collections.abc import Iterator

import numpy as np
import pytest

from qcn_agent.config import ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Finished, GenerationRequest, SamplingParams, TextDelta
from qcn_agent.models.embedded import embedded_model_path
from tests.bench.policy_oracle import Recording, Speaker
from tests.bench.policy_times import Spoken, Times, measure, row, targets
from tests.bench.typing_traces import Passage

RECORDING = Recording(Passage("import os\n\n", "total = first + second\nreturn total", "\n"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The embedded model, small."""
    config = ModelConfig(n_ctx=8192, n_threads=1, max_states=9, disk_cache_mb=0, host_cache_mb=0)
    loaded = Engine.load(config, embedded_model_path())
    yield loaded
    loaded.close()


@pytest.mark.parametrize(
    ("stop", "num_new", "expected", "reason"),
    [
        ((), 40, " first + second\nreturn total", "stop"),
        (("\n",), 40, " first + second", "stop"),
        ((), 2, None, "length"),
    ],
)
async def test_the_engine_works_and_the_recording_speaks(
    engine: Engine, stop: tuple[str, ...], num_new: int, expected: str | None, reason: str
) -> None:
    """As many tokens as are said were decoded; a stop string or the limit ends it."""
    vocabulary = engine.vocabulary
    end = next(token for token in range(engine.n_vocab) if vocabulary.is_end(token))
    spoken = Spoken(engine, Speaker(RECORDING, vocabulary, end))
    prompt = vocabulary.encode([("<|fim_prefix|>", True), ("import os\n\ntotal =", False), ("<|fim_middle|>", True)])
    request = GenerationRequest(f"s{stop}{num_new}", prompt, num_new, (), SamplingParams(temperature=0.0), stop=stop)
    text, last = "", None
    async for event in spoken.generate(request):
        text += event.text if isinstance(event, TextDelta) else ""
        last = event
    assert isinstance(last, Finished)
    assert last.reason == reason
    assert expected is None or text == expected
    assert last.usage.num_generated_tokens == len(vocabulary.encode([(text, False)]))


async def test_a_passage_is_typed_alone_and_beside_an_agent(engine: Engine) -> None:
    """Each key counts, and something is shown."""
    times = await measure(engine, 1, 1, 5.0)
    assert list(times) == ["idle", "agent writes"]
    assert times["idle"].num_keys == times["agent writes"].num_keys > 20
    assert all(of.hit_ms or of.model_ms for of in times.values())
    assert len(row("idle", times["idle"])) == 7


@pytest.mark.parametrize(("hit_ms", "busy_ms", "num_met"), [(5.0, 110.0, 2), (20.0, 110.0, 1), (5.0, 140.0, 1)])
def test_targets_are_about_hits_and_the_agent(hit_ms: float, busy_ms: float, num_met: int) -> None:
    """15 ms, and three tenths more."""
    times = {
        "idle": Times({"cache": [hit_ms], "model": [100.0]}),
        "agent writes": Times({"cache": [hit_ms], "stream": [busy_ms]}),
    }
    assert sum(target.is_met for target in targets(times)) == num_met


def test_silence_meets_nothing() -> None:
    """No reply has no time."""
    assert not any(target.is_met for target in targets({"idle": Times(), "agent writes": Times()}))
    assert np.isfinite(float(row("idle", Times())[4].split(" / ")[0]))
