"""Tables, targets and the verdict."""

import json
from pathlib import Path

import pytest

from tests.bench.report import Target, conclude, progress, table

TARGETS = [Target("fast", "3 ms", True), Target("right", "1 of 2", False)]


def test_table_is_aligned_markdown() -> None:
    """First column flush left, the others flush right, all lines of one length."""
    lines = table(["set", "bugs"], [["known", 240], ["all", 5]]).split("\n")
    assert lines == ["| set   | bugs |", "| ----- | ---: |", "| known |  240 |", "| all   |    5 |"]


def test_table_without_rows() -> None:
    """A header alone is a table."""
    assert table(["a", "b"], []) == "| a | b |\n| - | : |"


def test_verdict_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Each target is a line that says whether it is met; the last line counts them."""
    conclude(TARGETS, {}, None)
    assert capsys.readouterr().out.splitlines() == ["ok    fast: 3 ms", "MISS  right: 1 of 2", "VERDICT: 1 of 2"]


def test_json_holds_results_and_targets(tmp_path: Path) -> None:
    """Other programs read the same numbers."""
    conclude(TARGETS, {"model": "mini"}, tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["model"] == "mini"
    assert found["targets"][1] == {"text": "right", "measured": "1 of 2", "is_met": False}


def test_progress_stays_out_of_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Progress is on stderr, so the report can be piped."""
    progress("1/4")
    assert capsys.readouterr() == ("", "1/4\n")
