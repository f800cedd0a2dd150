"""Running textbook code in this process."""

import signal
import sys

import pytest

from qcn_agent.training import trial
from qcn_agent.training.trial import Expectation, Failure

TEXT = """
def half(n):
    return n / 2

def forever():
    while True:
        pass

def stubborn():
    while True:
        try:
            pass
        except Exception:
            pass

"""


def test_met_expectations_are_no_failures() -> None:
    """A right value, also a rounded float, is fine."""
    third = Expectation("half(1) * 2 / 3", "0.333333333", exact=False)
    assert trial.failures(TEXT, [Expectation("half(3)", "1.5"), third]) == []


def test_a_wrong_value_is_shown_as_its_repr() -> None:
    """The failure carries what came out."""
    assert trial.failures(TEXT, [Expectation("half(3)", "2")]) == [Failure("half(3)", "2", "1.5")]


def test_an_exception_is_shown_by_name() -> None:
    """An exception of the code is a result like any other."""
    (failure,) = trial.failures(TEXT, [Expectation("half('x')", "1")])
    assert failure.got.startswith("TypeError: ")


def test_code_that_does_not_end_is_stopped() -> None:
    """Endless loops end as Timeout, even where the code catches exceptions."""
    found = trial.failures(TEXT, [Expectation("forever()", "1"), Expectation("stubborn()", "1")])
    assert [failure.got for failure in found] == ["Timeout", "Timeout"]


def test_a_module_that_fails_to_run_fails_everywhere() -> None:
    """An error at import is the result of each expectation."""
    found = trial.failures("import no_such_module\n", [Expectation("a", "1"), Expectation("b", "2")])
    assert [failure.got.split(":")[0] for failure in found] == ["ModuleNotFoundError"] * 2


def test_limits_are_put_back() -> None:
    """Tracing and the timer are as they were, also after a timeout."""
    before = sys.gettrace(), signal.getsignal(signal.SIGPROF)
    with pytest.raises(trial.OutOfStepsError), trial.limited(max_steps=10):
        trial.execute("while True:\n    pass\n", {})
    assert (sys.gettrace(), signal.getsignal(signal.SIGPROF)) == before
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0


def test_one_long_step_is_stopped_by_the_clock() -> None:
    """A single step that takes for ever is ended by CPU time."""
    with pytest.raises(trial.OutOfStepsError), trial.limited(max_seconds=0.05):
        trial.execute("any(i < 0 for i in iter(int, 1))", {})


def test_only_textbook_code_counts_as_steps() -> None:
    """Library code that is called may take as many steps as it likes."""
    with trial.limited(max_steps=50):
        trial.execute("import json\nresult = json.dumps(list(range(500)))\n", {})
