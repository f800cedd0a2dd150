"""Our side of the user's benchmark: the real engine through its public interface."""

from pathlib import Path

import numpy as np
import pytest

from qcn_agent.benchmark.arms import Ask
from qcn_agent.benchmark.local import LocalArm, num_evaluated_prompt_tokens, to_answer
from qcn_agent.engine.generator import Finished, PrefillProgress, TextDelta, Usage
from qcn_agent.errors import ContextFullError

PROMPT = tuple(range(300, 400))


def test_answers_have_the_length_asked_for(local: LocalArm) -> None:
    """The end of an answer is never drawn; a next turn evaluates what is new and the token that was never fed back."""
    first = local.submit(Ask("s", PROMPT, 40, wants_times=True)).result(60)
    assert (len(first.tokens), first.num_evaluated, first.num_cached) == (40, 100, 0)
    assert first.times_ms[-1][1] == 40
    assert 0 < first.first_ms <= first.total_ms
    second = local.submit(Ask("s", (*PROMPT, *first.tokens, 300, 301), 2)).result(60)
    assert (second.num_evaluated, second.num_cached) == (3, 139)
    assert not second.times_ms
    assert not second.chunks_ms


def test_several_may_be_on_their_way(local: LocalArm) -> None:
    """Completions among them; memory is that of this process."""
    asks = [Ask(f"s{n}", (*PROMPT, 500 + n), 5, is_completion=n == 1) for n in range(3)]
    answers = [future.result(60) for future in [local.submit(ask) for ask in asks]]
    assert [len(answer.tokens) for answer in answers] == [5, 5, 5]
    memory = local.memory()
    assert memory.resident_mib > 50
    assert 3 <= memory.held.device_states <= 8


def test_an_error_of_the_engine_is_the_callers(local: LocalArm) -> None:
    """A prompt that doesn't fit, for one."""
    with pytest.raises(ContextFullError):
        local.submit(Ask("s", (300,) * 5000, 1)).result(60)


def test_nothing_goes_to_the_users_cache(local: LocalArm, home: Path) -> None:
    """The disk tier is off, whatever is configured."""
    local.submit(Ask("s", PROMPT, 4)).result(60)
    local.close()
    assert not list(home.rglob("kv/**/*"))
    with pytest.raises(RuntimeError, match="not loaded"):
        _ = local.engine
    local.kill()  # harmless


def test_an_answer_without_text_has_its_first_token_at_the_end() -> None:
    """And one without an end is none."""
    finished = Finished("length", np.array([5], np.int32), Usage(num_evaluated_tokens=9, num_generated_tokens=1))
    answer = to_answer([(1.0, PrefillProgress(9, 9)), (4.0, finished)], wants_times=True)
    assert (answer.tokens, answer.first_ms, answer.num_evaluated, answer.chunks_ms) == ((5,), 4.0, 9, (1.0,))
    with pytest.raises(RuntimeError):
        to_answer([(1.0, TextDelta("a", (1,)))], wants_times=False)


@pytest.mark.parametrize(("evaluated", "generated", "prompt"), [(100, 1, 100), (107, 8, 100), (0, 0, 0), (7, 8, 0)])
def test_generated_tokens_fed_back_don_t_count(evaluated: int, generated: int, prompt: int) -> None:
    """The last one is never fed back."""
    usage = Usage(num_evaluated_tokens=evaluated, num_generated_tokens=generated)
    assert num_evaluated_prompt_tokens(usage) == prompt
