"""pytest in a bare process says what pytest says."""

import sys
from pathlib import Path

import pytest

from qcn_agent.training.bench_set import BenchItem
from qcn_tools.environment import TestCommand
from qcn_tools.report import TestReport
from qcn_tools.run_tests import run_suite
from qcn_tools.workspace import Workspace
from tests.bench import bare_pytest
from tests.bench.bare_pytest import BarePytest

# the fork is meant; from Python 3.12 on that warns when an earlier test has left a thread behind
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
COMMAND = TestCommand(("python", "-m", "pytest"), {}, "pytest", "")


async def report_on(folder: Path, files: dict[str, str]) -> TestReport:
    """The report on a project of these files."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return await run_suite(Workspace(folder), BarePytest(), COMMAND)


async def test_report_is_pytests_own(tmp_path: Path, bug: BenchItem) -> None:
    """Ids, counts and the short message are those of a real run."""
    report = await report_on(tmp_path / "project", dict(bug.files))
    assert (report.num_passed, report.num_failed, report.exit_code) == (1, 1, 1)
    assert report.failures[0].test_id == "tests/test_tops.py::test_my_top_1"
    assert report.failures[0].message == "assert 1 == 3\n+  where 1 = my_top([1, 3, 2])"


async def test_repaired_project_is_green_and_clean(tmp_path: Path, bug: BenchItem) -> None:
    """Green is green, and the run leaves nothing in the tree."""
    report = await report_on(tmp_path / "project", bug.good_files())
    assert report.is_green
    found = {str(path.relative_to(tmp_path / "project")) for path in (tmp_path / "project").rglob("*.*")}
    assert found == set(bug.files)


async def test_modules_of_ours_do_not_get_in_the_way(tmp_path: Path, bug: BenchItem) -> None:
    """A project's module may have the name of one that this process has loaded."""
    names = (("app/tops.py", "numpy.py"), ("tests/test_tops.py", "tests/test_tops.py"))
    files = {new: bug.good_files()[old].replace("app.tops", "numpy") for old, new in names}
    assert "numpy" in sys.modules
    assert (await report_on(tmp_path / "project", files)).is_green


async def test_endless_test_is_stopped(tmp_path: Path, bug: BenchItem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that never ends costs the limit and counts as timed out."""
    monkeypatch.setattr(bare_pytest, "LIMIT_S", 0.5)
    files = {**bug.files, "app/tops.py": "def my_top(values):\n    while True:\n        pass\n"}
    report = await report_on(tmp_path / "project", files)
    assert report.timed_out and not report.is_green
