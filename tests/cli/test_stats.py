"""What `stats` says of completions."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from qcn_agent import paths
from qcn_agent.cli.stats import command, lines_of, live_line
from qcn_agent.completion.tally import Tally


def run(*arguments: str) -> str:
    """Its output."""
    result = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    return result.output


@pytest.fixture
def tally() -> Tally:
    """Where a daemon would write."""
    made = Tally(paths.state_dir() / "completions.db")
    for event, amount in (("shown", 10), ("accepted", 4), ("refused", 1), ("probed_30s", 4), ("kept_30s", 3.0)):
        made.count("python", event, amount)
    made.count("rust", "shown", 2)
    made.flush()
    return made


@pytest.mark.usefixtures("tally")
def test_a_line_a_language_the_busiest_first() -> None:
    """With shares of what was shown, and what was kept of what was accepted."""
    assert run().splitlines() == [
        "python: 10 shown; accepted 4 (40%); refused 1 (10%); kept after 30 s 75%",
        "rust: 2 shown",
    ]


def test_without_any_it_says_so() -> None:
    """No daemon, no counts: no error."""
    assert run("--days", "7").startswith("no completions were shown since ")


@pytest.mark.usefixtures("tally")
def test_json_has_the_daemon_s_own_numbers(daemon: Callable[..., Any]) -> None:
    """Beside the counts."""
    daemon()
    found = json.loads(run("--json"))
    assert found["languages"]["python"]["accepted"] == 4
    assert found["completions"]["enabled"] is True


def test_nothing_shown_is_no_division_by_zero() -> None:
    """Counts of a day after the one that they belong to."""
    assert lines_of({"accepted": 1}) == ["0 shown", "accepted 1"]


def test_live_numbers_in_a_line() -> None:
    """Times, budget, tokens, hits."""
    status = {
        "reply_ms": {"p50": 1.2, "p95": 300.0},
        "budget_kept": 0.96,
        "evaluated_tokens_per_key": 5.04,
        "hit_rate": 0.5,
    }
    said = "reply p50 1 ms, p95 300 ms; budget kept 96%; 5.0 tokens read a key; 50% without the model"
    assert live_line(status) == said
