"""Traces: what is asked, and how little of it is new."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.benchmark.traces import (
    TRACES,
    AnswerOf,
    PathTrie,
    Step,
    Tokens,
    Trace,
    ideal,
    ideal_of_neighbours,
    num_common,
)

PATHS = st.lists(st.lists(st.integers(0, 2), max_size=6).map(tuple), min_size=1, max_size=6)


def prompts_of(trace: Trace, answer: int = 9999) -> tuple[list[Tokens], list[Tokens]]:
    """Prompts, and answers that repeat one token."""
    prompts: list[Tokens] = []
    answers: list[Tokens] = []
    for step in trace.steps:
        prompts.append(step.prompt(answers))
        answers.append((answer,) * step.num_new)
    return prompts, answers


def test_ideal_counts_each_token_once() -> None:
    """What an earlier prompt or answer holds is not new; another token at the same place is."""
    assert ideal([(1, 2, 3), (1, 2, 3, 7, 4), (1, 2, 5), (1, 2, 3)], [(7,), (8,), (), ()]) == [3, 1, 1, 0]


@given(PATHS)
def test_ideal_is_what_no_earlier_path_shares(paths: list[Tokens]) -> None:
    """Without answers the trie agrees with the longest common prefix over all earlier prompts."""
    expected = [
        len(path) - max((num_common(path, earlier) for earlier in paths[:number]), default=0)
        for number, path in enumerate(paths)
    ]
    assert ideal(paths, [()] * len(paths)) == expected


def test_neighbours_count_from_the_prompt_before() -> None:
    """A prompt that was seen earlier, but not just before, is new where it differs."""
    assert ideal_of_neighbours([(1, 2), (1, 3, 4), (1, 2)], [(), (), ()]) == [2, 2, 1]


def test_trie_takes_a_path_in() -> None:
    """The second time nothing of it is new."""
    trie = PathTrie()
    assert (trie.add((1, 2)), trie.add((1, 2)), trie.add((1, 3))) == (2, 0, 1)


def test_prompt_holds_this_sides_answers() -> None:
    """Pieces are joined, an answer in its place; boundaries are where pieces end."""
    step = Step("s", ((1, 2), AnswerOf(1), (3,)))
    assert step.prompt([(8,), (9, 9)]) == (1, 2, 9, 9, 3)
    assert step.boundaries([(8,), (9, 9)]) == (2, 4, 5)


@pytest.mark.parametrize("name", sorted(TRACES))
def test_seed_decides(name: str) -> None:
    """The same seed gives the same trace, another one another."""
    assert TRACES[name](1).steps == TRACES[name](1).steps
    assert TRACES[name](1).steps != TRACES[name](2).steps
    assert TRACES[name](1).name == name


@pytest.mark.parametrize(
    ("name", "num_steps", "total"),
    [
        ("agent", 20, 5500),
        ("retry", 25, 6500),
        ("two", 40, 7000),
        ("branch", 31, 7800),
        ("heads", 96, 12_180),
        ("fim", 20, 4161),
        ("fim-between", 22, 8361),
    ],
)
def test_ideal_of_the_traces(name: str, num_steps: int, total: int) -> None:
    """The sums that the traces were defined with."""
    trace = TRACES[name](5)
    prompts, answers = prompts_of(trace)
    assert len(trace.steps) == num_steps
    assert sum(trace.ideal(prompts, answers)) == total


def test_branch_visits_each_point_five_times() -> None:
    """One first and four later visits to each of six points, and each is 60 tokens of its own."""
    trace = TRACES["branch"](3)
    labels = [step.label for step in trace.steps]
    prompts, answers = prompts_of(trace)
    assert (labels[0], labels.count("first"), labels.count("again")) == ("base", 6, 24)
    assert trace.ideal(prompts, answers)[1:] == [60] * 30


def test_fim_keys_grow_the_prefix_by_one_token() -> None:
    """Behind the common part: the new token, the suffix with its marker, the middle marker."""
    prompts, answers = prompts_of(TRACES["fim"](3))
    assert ideal_of_neighbours(prompts, answers)[1:] == [1 + 151 + 1] * 19


def test_agents_turn_after_the_keys_adds_200() -> None:
    """The agent's second turn extends its first."""
    trace = TRACES["fim-between"](3)
    prompts, answers = prompts_of(trace)
    assert trace.steps[-1].label == "agent"
    assert trace.ideal(prompts, answers)[-1] == 200
