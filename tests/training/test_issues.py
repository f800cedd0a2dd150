"""Issues say something about the function, and nothing wrong."""

import random

from qcn_agent.training import issues
from qcn_agent.training.trial import Failure

FAILURE = Failure("clamp(5, 0, 3)", "3", "5")


def written(count: int, failures: tuple[Failure, ...] = (FAILURE,), doc: str = "Limit {value} to a range.") -> set[str]:
    """Many issues about the same bug."""
    rng = random.Random(3)
    return {issues.write(rng, path="calc.py", name="clamp", doc=doc, failures=failures) for _ in range(count)}


def test_all_forms_are_used() -> None:
    """Bare reports, the purpose, and the failing call all occur."""
    texts = written(600)
    assert len(texts) == len(issues.BARE) + len(issues.WITH_PURPOSE) + len(issues.WITH_FAILURE)
    assert "clamp(5, 0, 3) returns 5 instead of 3." in texts
    assert "calc.py: `clamp` should limit {value} to a range, but it does not." in texts


def test_without_a_purpose_none_is_claimed() -> None:
    """No half sentences when the description is missing."""
    assert not any("should" in text for text in written(300, (), ""))


def test_long_calls_are_not_typed_into_an_issue() -> None:
    """A failure that nobody would quote is left out."""
    long = Failure("clamp(" + "1" * 200 + ")", "1", "2")
    assert not any("1111" in text for text in written(200, (long,)))
