"""`context`: what a model would be shown, with a scripted model's vocabulary (a token a byte)."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.cli.context import lines_of
from qcn_agent.cli.main import run
from tests.fakes.daemon import RunningDaemon

Start = Callable[..., RunningDaemon]
ISSUE = "clamp ignores its upper bound"


def test_pack_is_shown_part_by_part(daemon: Start, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tier, tokens, path, lines; then the sums."""
    daemon()

    assert run(["context", ISSUE, "--workspace", str(project), "--budget", "4000"]) == 0

    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "calc.py" in line and "test" not in line]
    assert row.split()[0] == "best"
    assert row.split()[2:] == ["calc.py", "1-11"]
    assert lines[-1].startswith("all")
    assert "of 4,000 tokens" in lines[-1]


def test_json_counts_and_tokens_can_be_had(
    daemon: Start, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file holds as many ids as were counted, and they are the text."""
    daemon()
    file = tmp_path / "tokens.bin"

    assert run(["context", ISSUE, "--workspace", str(project), "--json", "--tokens", str(file)]) == 0

    told = json.loads(capsys.readouterr().out)
    tokens = np.fromfile(file, "<i4")
    assert told["num_tokens"] == len(tokens) == sum(part["num_tokens"] for part in told["parts"])
    assert told["budget"] == 150_000
    assert "def clamp(value, low, high):" in bytes(tokens.astype(np.uint8)).decode()
    assert "tokens" not in told


def test_file_that_can_not_be_written_is_a_usage_error(
    daemon: Start, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do next."""
    daemon()

    assert run(["context", ISSUE, "--workspace", str(project), "--tokens", "/no/such/folder/file"]) == 2
    assert "--tokens" in capsys.readouterr().err


def test_an_issue_that_fits_nothing_says_what_to_do(
    daemon: Start, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr: the head is there all the same."""
    daemon()

    assert run(["context", "zebra quagga", "--workspace", str(project), "--json"]) == 0
    captured = capsys.readouterr()

    assert json.loads(captured.out)["num_issue_tokens"] == 0
    assert "→ name a function" in captured.err


def test_many_stretches_of_a_file_stay_on_a_line() -> None:
    """The first six, and how many more; frames have no line."""
    spans = [[10 * n, 10 * n + 5] for n in range(1, 9)]
    parts = [
        {"tier": "frame", "path": "", "lines": [], "num_tokens": 3},
        {"tier": "likely", "path": "a.py", "lines": spans, "num_tokens": 1234},
    ]
    packed = {"budget": 2000, "num_tokens": 1237, "num_head_tokens": 0, "num_issue_tokens": 1237, "parts": parts}

    first, *_, last = lines_of(packed)

    assert first == "likely          1,234  a.py  10-15, 20-25, 30-35, 40-45, 50-55, 60-65, … 2 more"
    assert last == "all             1,237  of 2,000 tokens (61.9%)"
