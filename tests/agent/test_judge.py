"""Green means green, with the tests as they were."""

import shutil
from pathlib import Path

import pytest

from qcn_agent.agent.judge import Verdict, compare, judge
from qcn_agent.agent.protected import Protected, is_protected, named_by_tests
from qcn_tools.report import TestReport


def report(green: str = "", red: str = "", exit_code: int | None = None) -> TestReport:
    """A report with these green and red tests, one letter a test."""
    code = (1 if red else 0) if exit_code is None else exit_code
    return TestReport("pytest", code, False, len(green), len(red), 0, 0, (), frozenset(green), frozenset(red))


@pytest.mark.parametrize(
    ("baseline", "final", "verdict"),
    [
        (report("a", "b"), report("ab"), Verdict.FIXED),
        (report("a", "bc"), report("ab", "c"), Verdict.FIXED),
        (report("a", "b"), report("b", "a"), Verdict.RED),
        (report("a", "b"), report("b"), Verdict.RED),
        (report("a", "b"), report("a", "b"), Verdict.RED),
        (report("a", "b"), report("a"), Verdict.RED),
        (report("a", "b"), report("abc"), Verdict.FIXED),
        (report("a"), report("a"), Verdict.UNPROVEN),
        (report("a"), report("a", "n"), Verdict.RED),
        (report(exit_code=5), report("n"), Verdict.UNPROVEN),
        (report(exit_code=4), report("a"), Verdict.FIXED),
        (report(exit_code=4), report(exit_code=4), Verdict.RED),
        (None, report("a"), Verdict.UNPROVEN),
        (report("a", "b"), None, Verdict.UNPROVEN),
    ],
)
def test_verdict(baseline: TestReport | None, final: TestReport | None, verdict: Verdict) -> None:
    """A fix turns a red test green and no green one red; deleting the red test is no fix."""
    assert compare(baseline, final).verdict is verdict


def run(green: set[str], red: set[str], exit_code: int = 1, duration_s: float = 1.0, **kw: bool) -> TestReport:
    """A report with ids as pytest has them."""
    counts = len(green), len(red)
    ids = frozenset(green), frozenset(red)
    return TestReport("pytest", exit_code, kw.get("timed_out", False), *counts, 0, 0, (), *ids, "", duration_s)


def test_module_that_could_not_be_collected_is_green_when_its_tests_are() -> None:
    """A syntax error in the source is one red id at the start and many green ones at the end."""
    broken = run({"tests/test_b.py::test_x"}, {"tests/test_a.py"}, 2)
    mended = run({"tests/test_b.py::test_x", "tests/test_a.py::test_y"}, set(), 0)
    half = run({"tests/test_b.py::test_x", "tests/test_a.py::test_y"}, {"tests/test_a.py::test_z"})

    assert compare(broken, mended).verdict is Verdict.FIXED
    assert compare(broken, half).verdict is Verdict.RED


def test_suite_that_hung_is_fixed_only_when_it_is_clearly_faster() -> None:
    """Running into the limit once and just below it the next time proves nothing."""
    hung = run(set(), set(), -15, 120.0, timed_out=True)

    assert compare(hung, run({"a::b"}, set(), 0, 2.0)).verdict is Verdict.FIXED
    assert compare(hung, run({"a::b"}, set(), 0, 119.0)).verdict is Verdict.UNPROVEN
    assert compare(hung, hung).verdict is Verdict.RED


def test_files_that_the_tests_name_are_protected(tmp_path: Path) -> None:
    """Unusual test names, the test command's own files and plugins count; a doctest's module is the code itself."""
    for name in ("check_calc.py", "run.sh", "plug.py", "calc.py", "other.py"):
        (tmp_path / name).write_text("x")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p plug\n")
    baseline = run({"check_calc.py::test_x[a.b]"}, {"calc.py::calc.clamp"})

    named = named_by_tests(tmp_path, ["sh", str(tmp_path / "run.sh")], baseline)

    assert named == {"check_calc.py", "run.sh", "plug.py"}
    taken = Protected.take(tmp_path, named)
    (tmp_path / "run.sh").write_text("true")
    assert taken.changed(tmp_path) == ["run.sh"]
    assert taken.covers("plug.py")
    assert not taken.covers("calc.py")


@pytest.mark.parametrize(
    ("path", "protected"),
    [
        ("tests/test_calc.py", True),
        ("tests/data/input.json", True),
        ("src/pkg/testing/helpers.py", True),
        ("conftest.py", True),
        ("src/conftest.py", True),
        ("pyproject.toml", True),
        ("calc_test.py", True),
        ("calc.py", False),
        ("src/attest.py", False),
        ("contest.py", False),
        ("pytest.py", True),
        ("_pytest/config.py", True),
        ("src/pytest.py", False),
    ],
)
def test_what_is_protected(path: str, protected: bool) -> None:
    """Tests, what lies beside them, and what configures them."""
    assert is_protected(path) is protected


class Tests:
    """Stands for a project's test run: green when the code is right or the test was weakened."""

    __test__ = False

    def __init__(self) -> None:
        self.roots: list[Path] = []

    async def __call__(self, root: Path) -> TestReport | None:
        """Look at the files instead of running pytest."""
        self.roots.append(root)
        right = "right" in (root / "calc.py").read_text()
        strict = "strict" in (root / "tests" / "test_calc.py").read_text()
        return report("ab") if right or not strict else report("a", "b")


def small(tmp_path: Path) -> tuple[Path, Protected]:
    """A project whose test is strict and whose code is wrong."""
    root = tmp_path / "p"
    (root / "tests").mkdir(parents=True)
    (root / "calc.py").write_text("wrong")
    (root / "tests" / "test_calc.py").write_text("strict")
    return root, Protected.take(root)


def files(root: Path) -> list[str]:
    """All files of the project."""
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]


async def verdict(root: Path, protected: Protected, tests: Tests) -> Verdict:
    """Judge the tree as it is."""
    return (await judge(root, lambda: files(root), protected, report("a", "b"), tests)).verdict


async def test_right_change_is_judged_in_place(tmp_path: Path) -> None:
    """No copy is made when no test was touched."""
    root, protected = small(tmp_path)
    (root / "calc.py").write_text("right")
    tests = Tests()

    assert await verdict(root, protected, tests) is Verdict.FIXED
    assert tests.roots == [root]


async def test_weakened_test_proves_nothing(tmp_path: Path) -> None:
    """With the original test the patch is red, so the run is unproven."""
    root, protected = small(tmp_path)
    (root / "tests" / "test_calc.py").write_text("weak")
    tests = Tests()

    assert await verdict(root, protected, tests) is Verdict.UNPROVEN
    assert tests.roots[-1] != root
    assert (root / "tests" / "test_calc.py").read_text() == "weak"


async def test_new_conftest_does_not_count(tmp_path: Path) -> None:
    """A conftest that did not exist is left out when the patch is judged."""
    root, protected = small(tmp_path)
    (root / "conftest.py").write_text("import everything_is_fine")

    class Lenient(Tests):
        async def __call__(self, root: Path) -> TestReport | None:
            """Green as soon as there is a conftest."""
            return report("ab") if (root / "conftest.py").exists() else await super().__call__(root)

    assert await verdict(root, protected, Lenient()) is Verdict.UNPROVEN


async def test_right_change_with_a_changed_test_is_fixed(tmp_path: Path) -> None:
    """Adding to the tests is fine as long as the original ones agree."""
    root, protected = small(tmp_path)
    (root / "calc.py").write_text("right")
    (root / "tests" / "test_calc.py").write_text("strict and more")
    (root / "tests" / "test_new.py").write_text("more")

    assert await verdict(root, protected, Tests()) is Verdict.FIXED


async def test_test_run_that_rewrites_the_tests_is_noticed(tmp_path: Path) -> None:
    """A suite that weakens itself while it runs proves nothing."""
    root, protected = small(tmp_path)

    class Rewriting(Tests):
        async def __call__(self, here: Path) -> TestReport | None:
            """Weaken the test of the tree itself, then run."""
            if here == root:
                (root / "tests" / "test_calc.py").write_text("weak")
            return await super().__call__(here)

    assert await verdict(root, protected, Rewriting()) is Verdict.UNPROVEN


async def test_deleted_test_is_put_back_for_judging(tmp_path: Path) -> None:
    """Removing a test file does not remove it from the judgement."""
    root, protected = small(tmp_path)
    shutil.rmtree(root / "tests")

    assert await verdict(root, protected, Tests()) is Verdict.UNPROVEN


async def test_ignored_conftest_is_seen(tmp_path: Path) -> None:
    """A patch that adds a conftest and a .gitignore that hides it is still unproven."""
    root, protected = small(tmp_path)
    (root / ".gitignore").write_text("conftest.py\n")
    (root / "conftest.py").write_text("import everything_is_fine")

    assert protected.changed(root) == ["conftest.py"]
