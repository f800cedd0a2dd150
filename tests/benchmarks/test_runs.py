"""What a run cost, as its events tell."""

from pathlib import Path

import pytest

from qcn_agent import paths
from qcn_agent.agent.events import RunEvent
from qcn_agent.agent.outcome import Outcome, Totals
from tests.bench.runs import TestRunCounter, private_home, record

ATTEMPT = RunEvent("attempt", {"number": 1, "of": 8})
EDIT = RunEvent("observation", {"kind": "edited", "ok": True})
REPORT = RunEvent("observation", {"kind": "test_report", "ok": True})
RED, GREEN = RunEvent("tests", {"green": False}), RunEvent("tests", {"green": True})


def watched(*events: RunEvent) -> TestRunCounter:
    """A counter that has seen these events."""
    counter = TestRunCounter()
    for event in events:
        counter(event)
    return counter


def test_first_test_run_is_not_counted() -> None:
    """The tests as found have to be run by anyone."""
    counter = watched(RED)
    assert (counter.num_test_runs, counter.num_patches, counter.num_tries) == (0, 0, 0)


def test_the_judge_confirms_a_tested_patch() -> None:
    """Tested by the model and confirmed by the judge: two test runs of one patch."""
    counter = watched(RED, ATTEMPT, EDIT, REPORT, GREEN)
    assert (counter.num_test_runs, counter.num_patches, counter.is_green) == (2, 1, True)


def test_the_judge_tests_what_the_model_did_not() -> None:
    """A patch that only the judge tests counts as well."""
    counter = watched(RED, ATTEMPT, EDIT, GREEN)
    assert (counter.num_test_runs, counter.num_patches) == (1, 1)


def test_samples_without_a_test_run_are_tries() -> None:
    """A misplaced edit is a try, but no patch that was tested."""
    counter = watched(RED, ATTEMPT, ATTEMPT, EDIT, REPORT, ATTEMPT, EDIT, REPORT, GREEN)
    assert (counter.num_tries, counter.num_patches, counter.num_test_runs) == (3, 2, 3)


@pytest.mark.parametrize(
    ("ending", "last", "fixed"), [("fixed", GREEN, True), ("fixed", RED, False), ("unproven", GREEN, False)]
)
def test_fixed_means_all_green(ending: str, last: RunEvent, fixed: bool) -> None:
    """Some tests turned green are not enough here, and neither is green without a verdict."""
    outcome = Outcome(ending, "")  # type: ignore[arg-type]
    assert record(outcome, watched(RED, ATTEMPT, REPORT, last)).fixed is fixed


def test_first_attempt_is_the_first_sample() -> None:
    """A free repeat before it makes it a later one."""
    outcome = Outcome("fixed", "", totals=Totals(num_attempts=1))
    assert record(outcome, watched(RED, ATTEMPT, REPORT, GREEN)).at_first_attempt
    assert not record(outcome, watched(RED, ATTEMPT, ATTEMPT, REPORT, GREEN)).at_first_attempt


def test_ratio_counts_what_was_evaluated_twice() -> None:
    """100 new prompt tokens and 100 generated ones need 200; 250 evaluated are a quarter too many."""
    totals = Totals(num_evaluated_tokens=250, num_new_prompt_tokens=100, num_generated_tokens=100)
    assert record(Outcome("red", "", totals=totals), watched(RED)).evaluated_ratio == 1.25


def test_run_without_the_model_has_no_ratio() -> None:
    """Nothing asked, nothing evaluated, no division by zero."""
    assert record(Outcome("budget", ""), watched(RED)).evaluated_ratio == 0.0


def test_home_is_private_and_put_back(home: Path) -> None:
    """Inside, journals go elsewhere; afterwards the user's place is the user's again, and nothing is left."""
    with private_home() as folder:
        assert paths.state_dir().parent == folder != home
    assert paths.state_dir().parent == home
    assert not folder.exists()
