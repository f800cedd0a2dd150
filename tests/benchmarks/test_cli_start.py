"""Timing of commands."""

import os
import subprocess
import sys

import pytest

from tests.bench.cli_start import judge, time_ms
from tests.bench.stats import Median


def test_time_of_a_command_is_in_milliseconds() -> None:
    """A command that waits 50 ms takes at least as long, and less than a minute."""
    assert 50 <= time_ms([sys.executable, "-c", "import time; time.sleep(0.05)"], os.environ) < 60_000


def test_command_that_fails_is_no_sample() -> None:
    """A quick failure must not look like a quick start."""
    with pytest.raises(subprocess.CalledProcessError):
        time_ms([sys.executable, "-c", "raise SystemExit(6)"], os.environ)


@pytest.mark.parametrize(("help_ms", "status_ms", "met"), [(150, 250, [True, True]), (151, 251, [False, False])])
def test_targets_are_about_medians(help_ms: float, status_ms: float, met: list[bool]) -> None:
    """At the limit is within it."""
    medians = {
        "qcn-agent --help": Median(help_ms, 1, 999, 31),
        "qcn-agent status": Median(status_ms, 1, 999, 31),
    }
    assert [target.is_met for target in judge(medians)] == met
