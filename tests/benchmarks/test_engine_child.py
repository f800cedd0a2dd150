"""What the child process makes of the engine's counters."""

import pytest

from qcn_agent.engine.generator import Usage
from tests.bench.engine_child import num_evaluated_prompt_tokens


@pytest.mark.parametrize(("evaluated", "generated", "prompt"), [(103, 4, 100), (100, 1, 100), (104, 4, 101), (0, 0, 0)])
def test_generated_tokens_fed_back_are_no_prompt_tokens(evaluated: int, generated: int, prompt: int) -> None:
    """All but the last are fed back once; whatever is decoded beyond that counts as read again."""
    usage = Usage(num_evaluated_tokens=evaluated, num_generated_tokens=generated)
    assert num_evaluated_prompt_tokens(usage) == prompt
