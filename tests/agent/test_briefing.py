"""How much is read about the project before the first turn."""

import pytest

from qcn_agent.agent.briefing import MIN_TOKENS, UNMEASURED_TOKENS_PER_S, Briefing
from qcn_agent.context.pack import Pack


async def nothing(_issue: str, budget: int) -> Pack:
    """Makes empty packs."""
    return Pack(budget, (), ())


def budget(rate: float, seconds: float = 20.0, n_ctx: int = 262_144, others: int = 2000, longest: int = 8192) -> int:
    """The budget with this prefill rate."""
    return Briefing(nothing, rate).budget(seconds, n_ctx, others, longest)


def test_it_is_what_can_be_read_in_time() -> None:
    """System text and opening are read in that time, too."""
    assert budget(2000.0) == 38_000
    assert budget(2000.0, seconds=5.0) == 8000


def test_the_conversation_keeps_a_quarter_of_the_context() -> None:
    """Or two of the longest turns, where that is more."""
    assert budget(1e6) == 262_144 - 65_536 - 2000
    assert budget(1e6, n_ctx=32_768) == 32_768 - 2 * 8192 - 2000


def test_before_the_first_measurement_a_slow_machine_is_supposed() -> None:
    """Rather little than a long wait."""
    assert budget(0.0, others=500) == int(20 * UNMEASURED_TOKENS_PER_S) - 500


@pytest.mark.parametrize("changes", [{"seconds": 0.0}, {"n_ctx": 4096}, {"others": 39_999}])
def test_too_little_is_nothing(changes: dict[str, float]) -> None:
    """A pack of a few tokens is not worth its frame."""
    assert budget(2000.0, **changes) == 0  # type: ignore[arg-type]
    assert budget(2000.0, others=40_000 - MIN_TOKENS) == MIN_TOKENS
