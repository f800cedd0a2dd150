"""Repair tasks hang together: bug, issue, reports, edit."""

import ast
import random
import subprocess
import sys
from pathlib import Path

import pytest

from qcn_agent.training import bench_set, mutate, projects, repairs, textbook, trial
from qcn_agent.training.excerpts import Excerpts
from qcn_agent.training.source_file import SourceFile
from qcn_tools.report import TestFailure, report_from_junit


@pytest.fixture(scope="module")
def tasks() -> list[repairs.RepairTask]:
    """Some tasks of the training side."""
    rng = random.Random(11)
    return [repairs.textbook_task(rng, textbook.trained_templates(), held_out=False) for _ in range(60)]


def test_the_edit_is_unambiguous(tasks: list[repairs.RepairTask]) -> None:
    """`old` occurs once, and the edit changes something that still parses."""
    for task in tasks:
        assert task.bad.count(task.old) == 1
        assert task.old != task.new
        ast.parse(task.bad.replace(task.old, task.new))


def test_reports_are_red_before_and_green_after(tasks: list[repairs.RepairTask]) -> None:
    """The first report shows failures of the module's tests or a timeout, the second none, with the same total."""
    for task in tasks:
        assert not task.before.is_green and task.after.is_green
        assert task.before.timed_out == (not task.before.failures)
        if task.before.failures:
            assert task.before.num_failed + task.before.num_passed == task.after.num_passed
            assert all(failure.test_id.split("::")[0] in task.files for failure in task.before.failures)


def test_listings_hold_the_module(tasks: list[repairs.RepairTask]) -> None:
    """The file to read is in the list, which is sorted."""
    assert all(task.path in task.files and list(task.files) == sorted(task.files) for task in tasks)


def test_training_tasks_hold_no_held_out_function() -> None:
    """Over many bugs, the target obeys the rule."""
    rng = random.Random(4)
    bugs = [repairs.draw_bug(rng, rng.choice(textbook.trained_templates()), held_out=False) for _ in range(150)]
    assert not any(bug.module.function.held_out for bug in bugs if bug is not None)


def test_a_bug_is_caught_by_its_tests(rng: random.Random) -> None:
    """The failures are those of the bad text, and the good text has none."""
    bug = None
    while bug is None:
        bug = repairs.draw_bug(rng, rng.choice(textbook.trained_templates()), held_out=None)
    assert trial.failures(bug.bad, bug.module.expectations) == list(bug.failures) != []
    assert bug.mutation.apply(bug.module.text) == bug.bad


def test_a_report_carries_what_pytest_says() -> None:
    """Ids name file and test; messages are condensed; other tests are counted as green."""
    tests = (
        "from a.calc import one\n\ndef test_one():\n    assert one() == 1\n\ndef test_two():\n    assert one() == 2\n"
    )
    report = repairs.report_before("a/calc.py", "def one():\n    return 2\n", "tests/test_calc.py", tests, 3)
    assert report.failures == (TestFailure("tests/test_calc.py::test_one", "assert 2 == 1\n+  where 2 = one()"),)
    assert (report.num_failed, report.num_passed, report.exit_code) == (1, 4, 1)


def test_an_endless_loop_is_reported_as_a_timeout() -> None:
    """Like the product, the report counts no test then."""
    tests = "from calc import one\n\n\ndef test_one():\n    assert one() == 1\n"
    report = repairs.report_before("calc.py", "def one():\n    while True:\n        pass\n", "t.py", tests, 0)
    assert report.timed_out and not report.failures


def test_corpus_tasks_are_bugs_in_real_functions(corpus_file: SourceFile, rng: random.Random) -> None:
    """The edit of a corpus task repairs the file; the report only says that something is wrong."""
    excerpts = Excerpts([corpus_file], held_out=corpus_file.functions[0].held_out)
    task = repairs.corpus_task(rng, excerpts)
    assert mutate.parses(task.bad.replace(task.old, task.new))
    assert task.before.failures[0].message == "AssertionError"


def test_without_sources_there_is_no_task(rng: random.Random) -> None:
    """An empty corpus raises LookupError."""
    with pytest.raises(LookupError):
        repairs.corpus_task(rng, Excerpts([]))


def test_reports_are_those_of_a_real_run(tmp_path: Path) -> None:
    """For a whole project, pytest's JUnit report read by the product gives the very failures of our report."""
    item = bench_set.load(Path(__file__).parents[1] / "bench" / "textbook_bugs.jsonl")[5]
    for path, text in item.files.items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    xml = tmp_path / "report.xml"
    options = ["-q", "--tb=short", "-p", "no:cacheprovider", "--disable-plugin-autoload", "-o", "junit_family=xunit1"]
    command = [sys.executable, "-m", "pytest", *options, "--junitxml", str(xml)]
    subprocess.run(command, cwd=tmp_path, capture_output=True)
    real = report_from_junit(xml.read_bytes(), command=repairs.COMMAND, exit_code=1)
    tests = projects.test_path(Path(item.path).stem)
    ours = repairs.report_before(item.path, item.files[item.path], tests, item.files[tests], 0)
    assert [(f.test_id, f.message) for f in real.failures] == [(f.test_id, f.message) for f in ours.failures] != []
