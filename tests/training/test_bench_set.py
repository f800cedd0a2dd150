"""The fixed evaluation set, and how it is chosen."""

import ast
import random
import subprocess
import sys
from pathlib import Path

import pytest

from qcn_agent.training import bench_set, mutate, textbook
from qcn_agent.training.bench_set import BenchItem
from qcn_agent.training.reserved import RESERVED

# workers are forked on purpose; from Python 3.12 on that warns when an earlier test has left a thread behind
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
SET = Path(__file__).parents[1] / "bench" / "textbook_bugs.jsonl"


@pytest.fixture(scope="module")
def items() -> list[BenchItem]:
    """The set that ships."""
    return bench_set.load(SET)


def test_the_set_is_large_enough(items: list[BenchItem]) -> None:
    """At least 200 bugs in held-out functions of known templates and 60 in unknown templates, no id twice."""
    sets = [item.set for item in items]
    assert sets.count("known") >= 200 and sets.count("unknown") >= 60
    assert len({item.id for item in items}) == len(items)
    assert [item.id for item in items] == sorted(item.id for item in items)


def test_no_bug_is_there_twice(items: list[BenchItem]) -> None:
    """Within a template, each bug is another one."""
    bugs = [(item.template, item.good_line.strip(), item.bad_line.strip()) for item in items]
    assert len(set(bugs)) == len(bugs)


def test_names_are_affixed_and_not_reserved(items: list[BenchItem]) -> None:
    """No function has a template's own name, which older weights have seen, or that of a benchmark program."""
    names = {name for template in textbook.load_templates() for name in template.names}
    assert not {item.name for item in items} & (names | RESERVED)


def test_sets_are_what_they_say(items: list[BenchItem]) -> None:
    """Unknown bugs are of the templates that are held out whole, known ones are not."""
    held_out = {template.key for template in textbook.held_out_templates()}
    assert all((item.template in held_out) == (item.set == "unknown") for item in items)


def test_one_line_is_wrong(items: list[BenchItem]) -> None:
    """The bad line stands where the item says, inside the named function or class; the repaired file parses."""
    for item in items:
        lines = item.files[item.path].split("\n")
        assert lines[item.line - 1] == item.bad_line != item.good_line
        good = item.good_files()[item.path]
        node = next(node for node in ast.parse(good).body if getattr(node, "name", "") == item.name)
        assert node.lineno <= item.line <= (node.end_lineno or 0)


def test_edits_that_repair_are_unambiguous(items: list[BenchItem]) -> None:
    """For each bug there is an edit of whole lines that occurs once."""
    for item in items:
        bad, good = item.files[item.path], item.good_files()[item.path]
        old, new = mutate.edit_pair(bad, good)
        assert bad.count(old) == 1 and bad.replace(old, new) == good


def test_projects_can_be_run_as_they_are(items: list[BenchItem]) -> None:
    """Each has a conftest.py at its root, so that its tests find the module, and only relative paths."""
    for item in items:
        assert "conftest.py" in item.files
        assert item.path in item.files and any(path.startswith("tests/test_") for path in item.files)
        assert not any(path.startswith("/") or ".." in path for path in item.files)


def test_a_sample_is_red_and_green_in_a_real_run(items: list[BenchItem], tmp_path: Path) -> None:
    """A fresh interpreter with pytest agrees: red as it is, green repaired."""
    for item in items[:3]:
        for files, code in ((item.files, 1), (item.good_files(), 0)):
            for path, text in files.items():
                target = tmp_path / f"{item.id}-{code}" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--disable-plugin-autoload"]
            run = subprocess.run(command, cwd=tmp_path / f"{item.id}-{code}", capture_output=True)
            assert run.returncode == code, run.stdout.decode()


def test_the_forked_run_agrees_with_itself(items: list[BenchItem]) -> None:
    """verify() accepts a good item and refuses one without its bug."""
    item = items[0]
    assert bench_set.verify(item)
    repaired = item.good_files()
    assert bench_set.pytest_exit_code(repaired) == 0
    assert bench_set.pytest_exit_code({**item.files, item.path: "def broken(:\n"}) not in (0, 1)


def test_a_run_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project whose tests do not end has no exit code."""
    monkeypatch.setattr(bench_set, "VERIFY_TIMEOUT_S", 1.0)
    assert bench_set.pytest_exit_code({"test_a.py": "def test_a():\n    while True:\n        pass\n"}) is None


def test_candidates_are_reproducible(items: list[BenchItem]) -> None:
    """Drawing again gives the very items that were written."""
    for item in items[:3]:
        template = next(t for t in textbook.load_templates() if t.key == item.template)
        limit = bench_set.MAX_PER_UNKNOWN if template.held_out else bench_set.MAX_PER_KNOWN
        assert item in bench_set.candidates(template, bench_set.NUM_DRAWS * limit)


def test_candidates_are_never_trained_on() -> None:
    """Each candidate's function is held out, by hash or with its template."""
    rng = random.Random(8)
    for template in textbook.trained_templates()[:40]:
        item = bench_set.draw(rng, template)
        if item is not None:
            assert item.set == "known" and item.name not in template.names
