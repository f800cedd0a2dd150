"""Tokens evaluated per key, counted by the real engine with the embedded model."""

from collections.abc import Iterator

import pytest

from qcn_agent.completion.planner import Shape
from qcn_agent.completion.prompt import FimPrompt, Layout, PromptBuilder
from qcn_agent.completion.service import Completer
from qcn_agent.completion.values import Trigger
from qcn_agent.config import CompletionConfig, ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Finished, GenerationRequest, Priority, SamplingParams, Usage
from qcn_agent.models.embedded import embedded_model_path
from tests.fakes.cursor import at

ABOVE = "".join(f"def area_{n}(width, height):\n    return width * height + {n}\n\n\n" for n in range(14))
BELOW = "\n\n" + "".join(f"print(area_{n}({n}, 2))\n" for n in range(30))
LINE = "total = area_1(2, 3) + area_2(4, 5)"
SHAPE = Shape(0, 512, 128)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The embedded hybrid model, small."""
    config = ModelConfig(n_ctx=2048, n_ubatch=64, n_threads=1, max_states=9, disk_cache_mb=0, host_cache_mb=0)
    loaded = Engine.load(config, embedded_model_path())
    yield loaded
    loaded.close()


async def sent(engine: Engine, prompt: FimPrompt) -> Usage:
    """What a completion of four tokens costs."""
    request = GenerationRequest(
        "typing", prompt.tokens, 4, prompt.boundaries, SamplingParams(temperature=0.0), priority=Priority.COMPLETION
    )
    async for event in engine.generate(request):
        if isinstance(event, Finished):
            return event.usage
    raise AssertionError("no Finished event")


async def read_per_key(engine: Engine, layout: Layout) -> tuple[list[int], int, int]:
    """Prompt tokens read for each key after the first, the tokens of the suffix, and those of the whole line."""
    builder = PromptBuilder(engine.vocabulary, layout)
    usages = [
        await sent(engine, builder.build(at(f"{ABOVE}{LINE[:length]}¦{BELOW}"), [], SHAPE))
        for length in range(1, len(LINE) + 1)
    ]
    num_line = len(engine.vocabulary.encode([(LINE, False)]))
    return [usage.num_prompt_tokens - usage.num_reused_tokens for usage in usages][2:], SHAPE.suffix_tokens, num_line


async def test_in_the_spm_order_a_key_costs_its_line_and_little_more(engine: Engine) -> None:
    """The line's tokens, the one before it, the middle marker: never the suffix or the window."""
    read, _, num_line = await read_per_key(engine, "spm")

    assert max(read) <= num_line + 3


async def test_in_the_psm_order_a_key_costs_the_suffix_too(engine: Engine) -> None:
    """And never the window above the line."""
    read, num_suffix, num_line = await read_per_key(engine, "psm")

    assert min(read) > num_suffix
    assert max(read) <= num_suffix + num_line + 4


async def test_a_new_line_costs_no_window(engine: Engine) -> None:
    """Enter moves the line into the window: the snapshot before it still holds."""
    builder = PromptBuilder(engine.vocabulary, "spm")
    await sent(engine, builder.build(at(f"{ABOVE}{LINE}¦{BELOW}"), [], SHAPE))
    usage = await sent(engine, builder.build(at(f"{ABOVE}{LINE}\n\n    ¦{BELOW}"), [], SHAPE))

    num_line = len(engine.vocabulary.encode([(LINE, False)]))
    assert usage.num_prompt_tokens - usage.num_reused_tokens <= num_line + 6


async def test_the_whole_room_runs_on_the_real_engine(engine: Engine) -> None:
    """Whatever the model says: requests end, nothing fails, the account is there."""
    config = CompletionConfig(debounce_ms=0.0, answer_ms=20_000.0, hard_ms=60_000.0, min_logprob=-100.0)
    completer = Completer(engine.completion, config, metadata=engine.metadata)
    for length in (8, 9, 12):
        await completer.complete(at(f"{ABOVE}{LINE[:length]}¦{BELOW}"), Trigger.AUTOMATIC, "c")
    completer.close("c")

    status = completer.status()
    assert status["layout"] == "spm"
    assert status["counters"]["engine_starts"] >= 1
    assert status["dropped"].get("error", 0) == 0
    assert status["evaluated_tokens_per_key"] > 0
