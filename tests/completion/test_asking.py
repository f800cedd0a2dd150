"""What is learned from the requests that a completer makes."""

import pytest

from qcn_agent.completion.asking import Asker
from qcn_agent.completion.prompt import PromptBuilder
from qcn_agent.completion.rates import RateMeter
from qcn_agent.config import CompletionConfig
from qcn_agent.engine.generator import Usage
from tests.fakes.cursor import at
from tests.fakes.scripted import ByteVocabulary

SLOW = Usage(num_prompt_tokens=1200, num_generated_tokens=1, prefill_ms=25_000.0, queue_ms=9.0)


@pytest.fixture
def asker() -> Asker:
    """It has seen prompts of 100 tokens take 60 ms."""
    made = Asker(PromptBuilder(ByteVocabulary(), "psm"), CompletionConfig(), RateMeter(), 8192, "")
    for _ in range(5):
        made.meter.add(Usage(num_prompt_tokens=100, num_generated_tokens=1, prefill_ms=60.0))
    return made


@pytest.mark.parametrize(("steps_waited", "is_learned"), [(0, True), (7, False)])
def test_what_made_way_for_others_says_nothing_of_the_model(asker: Asker, steps_waited: int, is_learned: bool) -> None:
    """Its time is theirs, too. What ran alone does, but for the queue, where nobody waited."""
    asked, before, queue_ms = asker.warm("s", at("x = ¦\n"), ()), asker.meter.rates, asker.meter.queue_ms
    asker.answered(asked, Usage(**{**vars(SLOW), "steps_waited": steps_waited}), is_guess=True)
    assert (asker.meter.rates != before) is is_learned
    assert asker.meter.queue_ms == queue_ms


def test_a_request_that_somebody_waits_for_is_always_learned_from(asker: Asker) -> None:
    """What it waits for, the next one will wait for."""
    asked, before = asker.warm("s", at("x = ¦\n"), ()), asker.meter.rates
    asker.answered(asked, Usage(**{**vars(SLOW), "steps_waited": 1}), is_guess=False)
    assert asker.meter.rates != before
    assert asker.meter.queue_ms > 0
