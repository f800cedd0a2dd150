"""The planner on machines that are not here."""

import itertools

import pytest

from qcn_agent.engine.backend import Backend
from qcn_agent.engine.text import LlamaVocabulary
from tests.bench.plan_machines import MACHINES, SMALL_NAME
from tests.bench.plan_sim import BUDGETS_MS, PICTURE, README, Case, cases, drawn, markdown, with_table


@pytest.fixture(scope="module")
def found(real: Backend) -> list[Case]:
    """All of them."""
    return list(cases(LlamaVocabulary(real)))


def test_every_machine_has_every_budget(found: list[Case]) -> None:
    """In this order."""
    for machine in MACHINES:
        assert [case.answer_ms for case in found if case.machine == machine.name] == list(BUDGETS_MS)


def test_a_small_model_stands_where_the_big_one_cannot(found: list[Case]) -> None:
    """And only there."""
    for machine in MACHINES:
        big = [case for case in found if case.machine == machine.name]
        small = [
            case for case in found if SMALL_NAME in case.machine and machine.name.startswith(case.machine.split(":")[0])
        ]
        assert bool(small) == (not all(case.is_of_use for case in big))


def test_a_cached_prompt_is_used_whole(found: list[Case]) -> None:
    """While one types the prompt is longer than a cold one, and little of it is to be read."""
    for case in found:
        assert case.typing.num_prompt_tokens >= case.cold.num_prompt_tokens
        assert case.typing.num_prompt_tokens - case.typing.num_cached_tokens <= 16
        assert case.cold.num_cached_tokens == 0


def test_more_time_gives_no_less(found: list[Case]) -> None:
    """Of prompt and of answer."""
    for first, second in itertools.pairwise(found):
        if first.machine == second.machine:
            assert second.cold.num_prompt_tokens >= first.cold.num_prompt_tokens
            assert second.typing.num_answer_tokens >= first.typing.num_answer_tokens


def test_the_pages_are_what_is_simulated_now(found: list[Case]) -> None:
    """`make plan-sim` writes them."""
    readme = README.read_text(encoding="utf-8")
    assert "simulated" in readme
    assert with_table(readme, markdown(found)) == readme
    assert PICTURE.read_text(encoding="utf-8") == drawn(found)
