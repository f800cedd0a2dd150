"""Which journals are kept, and which go when the next run begins."""

import os
import shutil
import time
from pathlib import Path

import pytest

from qcn_agent.agent import pruning
from qcn_agent.agent.journal import Journal, journals_dir


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs are many."""
    monkeypatch.setattr(pruning, "KEPT_RUNS", 2)


def ended(workspace: Path, number: int, name: str = "", data: bytes = b"") -> str:
    """A run that is over, which wrote `data` into a file unless that has no name; later ones have higher numbers."""
    run = Journal.create(workspace, "x", f"20260101-{number:06}-abcdef")
    if name:
        path = workspace / name
        run.write(path, data, path.read_bytes() if path.exists() else None)
    run.close()
    return run.run_id


def kept() -> set[str]:
    """The runs that are on record."""
    return {folder.name for folder in journals_dir().iterdir()}


def test_last_runs_of_each_workspace_stay(project: Path, tmp_path: Path) -> None:
    """The newest ones are kept, in each project for itself."""
    (tmp_path / "other").mkdir()
    runs = [ended(project, number) for number in range(4)]
    others = [ended(tmp_path / "other", 10 + number) for number in range(2)]

    assert pruning.forget_old() == runs[1::-1]
    assert kept() == {*runs[2:], *others}


def test_what_undo_could_take_back_stays(project: Path) -> None:
    """An old run stays as long as a file holds what it wrote, and goes when that was changed."""
    first = ended(project, 0, "calc.py", b"fixed")
    runs = [ended(project, number) for number in range(1, 4)]

    assert pruning.forget_old() == [runs[0]]
    assert first in kept()
    (project / "calc.py").write_bytes(b"worked on")
    assert pruning.forget_old() == [first]


def test_live_run_stays(project: Path) -> None:
    """A long run is not forgotten while it is going on, though it is old and has changed nothing."""
    live = Journal.create(project, "x", "20250101-000000-abcdef")
    runs = [ended(project, number) for number in range(2)]

    assert pruning.forget_old() == []
    live.close()
    assert pruning.forget_old() == [live.run_id]
    assert kept() == set(runs)


def test_damaged_ones_go_in_their_turn(project: Path) -> None:
    """What can't be taken back is not kept for that."""
    damaged = ended(project, 0, "calc.py", b"fixed")
    log = journals_dir() / damaged / "changes.jsonl"
    log.write_text("not json\n" + log.read_text())
    for number in (1, 2):
        ended(project, number)

    assert pruning.forget_old() == [damaged]


def test_runs_of_a_workspace_that_is_gone_stay_for_a_month(tmp_path: Path) -> None:
    """It may come back, as a disk that is not mounted does."""
    gone = tmp_path / "gone"
    gone.mkdir()
    runs = [ended(gone, number, "a.py", b"%d" % number) for number in range(4)]
    shutil.rmtree(gone)

    assert pruning.forget_old() == []
    old = time.time() - pruning.KEPT_S - 60
    os.utime(journals_dir() / runs[3], (old, old))
    assert pruning.forget_old() == [runs[3]]
