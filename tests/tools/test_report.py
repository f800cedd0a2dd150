"""Reading what a test run said."""

import subprocess
import sys
from pathlib import Path

import pytest

from qcn_tools.report import TestReport, condense, report_from_exit, report_from_junit

SUITE = """
import unittest
import pytest

def add(a, b): return a - b

def test_good(): pass
def test_bad(): assert add(1, 2) == 3
def test_words(): assert add(1, 2) == 3, "the sum is wrong"
def test_raises(): raise ValueError("boom\\nsecond line")

class TestOuter:
    class TestInner:
        @pytest.mark.parametrize("x", ["a b", "c/d.py::e"])
        def test_deep(self, x): assert x == 1

class Old(unittest.TestCase):
    def test_old(self): self.assertEqual(1, 2)

@pytest.fixture
def broken(): raise RuntimeError("no")

@pytest.fixture
def broken_later():
    yield
    raise RuntimeError("too late")

def test_setup(broken): pass
def test_teardown(broken_later): pass

@pytest.mark.skip
def test_skipped(): pass

@pytest.mark.xfail
def test_expected(): assert 0
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> TestReport:
    """What a real pytest says about SUITE and two modules that can't be collected."""
    root = tmp_path_factory.mktemp("suite")
    (root / "tests").mkdir()
    (root / "tests" / "test_all.py").write_text(SUITE)
    (root / "tests" / "test_import.py").write_text("import no_such_module\n")
    (root / "tests" / "test_syntax.py").write_text("x = 1\ndef f(:\n")
    xml = root / "junit.xml"
    options = ["-q", "--tb=short", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={xml}"]
    argv = [sys.executable, "-m", "pytest", "--continue-on-collection-errors", *options]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True)
    return report_from_junit(xml.read_bytes(), command="pytest", exit_code=done.returncode, output=done.stdout)


def messages(report: TestReport) -> dict[str, str]:
    """Message by test id."""
    return {failure.test_id: failure.message for failure in report.failures}


def test_counts(report: TestReport) -> None:
    """Every test is counted once, under what happened to it."""
    assert (report.num_passed, report.num_failed, report.num_errors, report.num_skipped) == (1, 6, 4, 2)
    assert report.passed_ids == {"tests/test_all.py::test_good"}
    assert len(report.failed_ids) == 10
    assert not report.is_green


def test_ids(report: TestReport) -> None:
    """Ids are pytest's own, with nested classes, parameters and whole modules."""
    assert {
        "tests/test_all.py::test_bad",
        "tests/test_all.py::TestOuter::TestInner::test_deep[a b]",
        "tests/test_all.py::TestOuter::TestInner::test_deep[c/d.py::e]",
        "tests/test_all.py::Old::test_old",
        "tests/test_import.py",
    } <= report.failed_ids


def test_messages(report: TestReport) -> None:
    """A message is the line that matters, with the values it came from."""
    said = messages(report)
    assert said["tests/test_all.py::test_bad"] == "assert -1 == 3\n+  where -1 = add(1, 2)"
    assert said["tests/test_all.py::test_words"].splitlines() == [
        "AssertionError: the sum is wrong",
        "assert -1 == 3",
        "+  where -1 = add(1, 2)",
    ]
    assert said["tests/test_all.py::test_raises"] == "ValueError: boom"
    assert said["tests/test_all.py::Old::test_old"] == "AssertionError: 1 != 2"
    assert said["tests/test_import.py"] == "ModuleNotFoundError: No module named 'no_such_module'"
    assert said["tests/test_syntax.py"].startswith("SyntaxError")
    assert "RuntimeError: no" in said["tests/test_all.py::test_setup"]


def test_locations(report: TestReport) -> None:
    """A location is where the project's own code failed, also for a syntax error."""
    places = {failure.test_id: failure.location for failure in report.failures}
    assert places["tests/test_all.py::test_bad"] == "tests/test_all.py:8"
    assert places["tests/test_syntax.py"] == "tests/test_syntax.py:2"
    assert places["tests/test_import.py"] == "tests/test_import.py:1"


BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "{0}">]><testsuite><testcase name="t" file="a.py"/></testsuite>'


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"not xml",
        b"<testsuite><testcase name='t' file='a.py' classname='a'/>",
        BOMB.encode(),
        BOMB.encode("utf-16"),
        b"\xff\xfe",
        b"<a>" * 100_000,
    ],
)
def test_unusable_reports_prove_nothing(xml: bytes) -> None:
    """A report that is missing, cut short or declares entities counts no test and is not green."""
    report = report_from_junit(xml, command="pytest", exit_code=0)
    assert (report.num_passed, report.is_green) == (0, False)


def test_file_entities_are_not_read(tmp_path: Path) -> None:
    """An external entity never brings a file into a message."""
    secret = tmp_path / "secret"
    secret.write_text("token")
    xml = f'<!DOCTYPE x [<!ENTITY s SYSTEM "file://{secret}">]><testcase name="t"><failure message="&s;"/></testcase>'
    assert report_from_junit(xml.encode(), command="", exit_code=1).failures == ()


def test_doctype_in_text_is_fine() -> None:
    """A failure message may speak of a document type."""
    xml = '<testcase file="a.py" classname="a" name="t"><failure message="&lt;!DOCTYPE html&gt;"/></testcase>'
    assert report_from_junit(xml.encode(), command="", exit_code=1).failures[0].message == "<!DOCTYPE html>"


@pytest.mark.parametrize(
    ("report", "green"),
    [
        (TestReport("c", 0, num_passed=1), True),
        (TestReport("c", 0), False),
        (TestReport("c", 1, num_passed=1), False),
        (TestReport("c", 0, num_passed=1, num_failed=1), False),
        (TestReport("c", 0, num_passed=1, num_errors=1), False),
        (TestReport("c", 0, num_passed=1, timed_out=True), False),
    ],
)
def test_green(report: TestReport, green: bool) -> None:
    """Green needs a clean exit, at least one test that passed and none that failed."""
    assert report.is_green is green


def test_exit_code_reports() -> None:
    """A command of which we know the exit code only is one test, comparable between runs."""
    good = report_from_exit(command="make test", exit_code=0)
    bad = report_from_exit(command="make test", exit_code=2, output="lots\nmake: *** Error 2\n")
    late = report_from_exit(command="make test", exit_code=0, timed_out=True)
    assert good.is_green
    assert not bad.is_green
    assert not late.is_green
    assert good.passed_ids == bad.failed_ids == {"make test"}
    assert (bad.failures[0].message, late.failures[0].message) == ("make: *** Error 2", "timed out")


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("assert 1 == 2", "assert 1 == 2"),
        ("AssertionError: assert 1 == 2", "assert 1 == 2"),
        ("AssertionError: no\nassert x\n +  where x = f()", "AssertionError: no\nassert x\n+  where x = f()"),
        ("assert a\n + where\n +  where 1\n  +    where 2\n +  where 3\n", "assert a\n+  where 1\n+    where 2"),
        ("KeyError: 'a'\nmore", "KeyError: 'a'"),
        ("  \n", ""),
        ("x" * 1000, "x" * 500),
    ],
)
def test_condense(message: str, kept: str) -> None:
    """A message is condensed to its first line and up to two `where` lines."""
    assert condense(message) == kept
