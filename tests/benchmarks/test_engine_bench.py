"""The command line, the table, the limits of what ours may hold."""

import sys
from pathlib import Path

import pytest

from qcn_agent.benchmark.arms import Memory
from qcn_agent.benchmark.held import Held, Setup
from tests.bench import engine_bench
from tests.bench.contest import Contest, Part, Row
from tests.bench.engine_bench import PARTS, limits, parse, run_parts, shown
from tests.bench.report import Target

MEMORY = {"ours": Memory(Held(8, 3, 1000), 100.0), "llama-server": Memory(Held(0, 31, 0), 90.0)}


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    """Ours alone; nothing is started."""
    return Contest(Setup(tmp_path / "m.gguf", 2048, 1), 7, True, tmp_path, None)


def test_table_has_a_column_for_each_side_and_memory() -> None:
    """A side that was not measured has a dash."""
    lines = shown([Row("agent", "ratio", {"ours": "1.00", "llama-server": "1.02"}, MEMORY)]).splitlines()
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells == ["agent", "ratio", "1.00", "1.02", "–", "8+3 0.2G / 0+31 2.3G"]


def test_limits_are_judged_over_all_rows() -> None:
    """One row beyond them is enough; what the peer holds doesn't count."""
    allowed = Row("a", "m", {}, MEMORY)
    assert limits([allowed]).is_met
    assert not limits([allowed, Row("b", "m", {}, {"ours": Memory(Held(13), 0.0)})]).is_met
    assert limits([Row("c", "m", {}, {"llama-server": Memory(Held(99, 999), 0.0)})]).is_met


def test_command_line_without_peer() -> None:
    """All traces, in order, unless some are named."""
    assert parse(["--no-peer"]).traces == list(PARTS)
    assert parse(["--no-peer", "--traces", "agent,busy", "--seed", "3"]).traces == ["agent", "busy"]


def test_unknown_trace_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that exist."""
    with pytest.raises(SystemExit):
        parse(["--no-peer", "--traces", "agent,nonsense"])
    error = capsys.readouterr().err
    assert "unknown traces: nonsense" in error
    assert "heads" in error


def test_missing_peer_says_what_to_install(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And how to do without."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(SystemExit):
        parse(["--peer-python", str(bare)])
    error = capsys.readouterr().err
    assert "pip install xllamacpp" in error
    assert "--no-peer" in error


def test_a_part_that_fails_is_a_missed_target(contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on, so the report has its verdict."""

    def fail(_: Contest) -> Part:
        raise RuntimeError("it broke\nin the middle")

    good = Part([], [Target("x", "1", True)])
    monkeypatch.setattr(engine_bench, "PARTS", {"bad": fail, "good": lambda _: good})
    found = run_parts(["bad", "good"], contest)
    assert [target.is_met for part in found.values() for target in part.targets] == [False, True]
    assert found["bad"].targets[0].measured == "it broke"


def test_contest_without_peer_has_none(contest: Contest) -> None:
    """And each engine of ours gets a home of its own."""
    assert contest.peers() == []
    assert contest.home() != contest.home()


def test_contest_with_peer_has_two_kinds(tmp_path: Path) -> None:
    """As it starts, and well tuned."""
    contest = Contest(Setup(tmp_path / "m.gguf", 2048, 1), 7, False, tmp_path, sys.executable)
    peers = contest.peers()
    assert [arm.name for arm in peers] == ["llama-server", "tuned"]
    assert contest.num_samples == 500
    for arm in peers:
        arm.close()
