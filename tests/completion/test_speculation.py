"""What is prepared while nobody waits."""

from qcn_agent.completion.speculation import SpeculationBudget, accepted
from qcn_agent.completion.values import Completion, Kind
from tests.fakes.cursor import at


def completion(text: str, *, is_whole: bool = True) -> Completion:
    """Shown at some place."""
    return Completion(1, "file:///w/app.py", 1, text, "model", is_whole, Kind.LINE)


def test_guesses_need_something_to_be_a_share_of() -> None:
    """None before the first answer; then three tenths."""
    budget = SpeculationBudget()
    assert not budget.allows

    budget.add(100.0, is_guess=False)
    assert budget.allows
    budget.add(30.0, is_guess=True)
    assert not budget.allows
    budget.add(10.0, is_guess=False)
    assert budget.allows


def test_what_was_long_ago_counts_less() -> None:
    """An hour of answers does not buy minutes of guesses."""
    budget = SpeculationBudget()
    for _ in range(1000):
        budget.add(1_000.0, is_guess=False)

    assert budget.waited_ms <= 60_000.0
    budget.add(20_000.0, is_guess=True)
    assert not budget.allows


def test_the_next_place_is_behind_the_accepted_text() -> None:
    """With everything else as it is."""
    there = accepted(at("x = ¦\n"), completion("f(1)"))

    assert there is not None
    assert (there.before, there.after) == ("x = f(1)", "\n")


def test_a_cut_completion_is_not_guessed_beyond() -> None:
    """Its own rest comes first."""
    assert accepted(at("x = ¦\n"), completion("f(1", is_whole=False)) is None
    assert accepted(at("x = ¦\n"), completion("")) is None
