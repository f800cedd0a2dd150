"""The opening: which files a model is shown."""

import pytest

from qcn_agent.agent.opening import choose_files, opening_text
from qcn_prompts import load
from qcn_tools.report import TestFailure, TestReport

MANY = [f"m{number}.py" for number in range(500)]
RED = TestReport("pytest", 1, failures=(TestFailure("tests/test_scale.py::test_clamp", "assert 5 == 3"),))


def test_all_files_are_shown_when_they_fit() -> None:
    """Sorted, whatever they are."""
    assert choose_files(["b.py", "a.md"], "x", None, 5) == ["a.md", "b.py"]


@pytest.mark.parametrize("issue", ["clamp in src/scale.py is wrong", "scale.py is wrong", "the scale module is wrong"])
def test_named_files_alone_are_shown_when_not_all_fit(issue: str) -> None:
    """A small model would get lost among five hundred others."""
    assert choose_files([*MANY, "src/scale.py"], issue, None, 16) == ["src/scale.py"]


def test_failing_test_names_its_module() -> None:
    """tests/test_scale.py leads to scale.py and to itself."""
    files = [*MANY, "scale.py", "tests/test_scale.py"]

    assert choose_files(files, "something is wrong", RED, 16) == ["scale.py", "tests/test_scale.py"]


def test_without_any_name_python_files_come_first() -> None:
    """Never more than the limit, always the same ones."""
    chosen = choose_files([*MANY, "README.md"], "?", None, 3)

    assert chosen == sorted(MANY)[:3]
    assert chosen == choose_files([*reversed(MANY), "README.md"], "?", None, 3)


def test_text_holds_issue_files_and_tests() -> None:
    """What the profile's template asks for."""
    text = opening_text(load("mini"), " it is wrong ", ["scale.py"], ("test_report", {"report": RED}))

    assert text.startswith("it is wrong\n\nFiles:\nscale.py\n\nTests:\nFAILED tests/test_scale.py::test_clamp")
