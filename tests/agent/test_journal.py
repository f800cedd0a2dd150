"""The journal: what a run changed is taken back byte by byte, and what a person changed stays."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from qcn_agent.agent import journal
from qcn_agent.agent.journal import Journal
from qcn_agent.errors import JournalError

Tree = Callable[[Path], dict[str, tuple[bytes, int]]]


def test_restore_is_byte_exact(project: Path, tree: Tree) -> None:
    """Contents, modes, times, new files and new folders are all as found."""
    (project / "calc.py").write_bytes(b"\xff\xfe odd bytes\r\n")
    (project / "calc.py").chmod(0o750)
    before, stamp = tree(project), (project / "calc.py").stat().st_mtime_ns
    run = Journal.create(project, "x")
    run.write(project / "calc.py", b"one")
    run.write(project / "calc.py", b"two")
    run.write(project / "new" / "deep" / "file.py", b"three")

    result = run.restore()

    assert sorted(result.restored) == ["calc.py", "new/deep/file.py"]
    assert tree(project) == before
    assert (project / "calc.py").stat().st_mtime_ns == stamp
    assert not (project / "new").exists()


def test_file_changed_by_a_person_stays(project: Path) -> None:
    """A file whose bytes are not ours is left alone and reported."""
    run = Journal.create(project, "x")
    run.write(project / "calc.py", b"ours")
    (project / "calc.py").write_bytes(b"theirs")

    result = run.restore()

    assert result.kept == ("calc.py",)
    assert (project / "calc.py").read_bytes() == b"theirs"


def test_change_of_a_person_between_two_of_ours_is_not_lost(project: Path) -> None:
    """Where the later write holds a person's work too, the file stays."""
    run = Journal.create(project, "x")
    run.write(project / "calc.py", b"ours\n")
    (project / "calc.py").write_bytes(b"ours\ntheirs\n")
    run.write(project / "calc.py", b"ours again\ntheirs\n")

    assert run.restore().kept == ("calc.py",)
    assert b"theirs" in (project / "calc.py").read_bytes()


def test_file_deleted_by_a_person_stays_deleted(project: Path) -> None:
    """Putting back is not resurrecting."""
    run = Journal.create(project, "x")
    run.write(project / "calc.py", b"ours")
    (project / "calc.py").unlink()

    assert run.restore().kept == ("calc.py",)
    assert not (project / "calc.py").exists()


def test_crash_between_record_and_write_restores(project: Path, tree: Tree) -> None:
    """A recorded change that never reached the file costs nothing; neither does a half-written line."""
    before = tree(project)
    run = Journal.create(project, "x")
    run.write(project / "calc.py", b"ours")
    log = run.folder / "changes.jsonl"
    change = json.loads(log.read_text())
    change["before"], change["after"] = change["after"], "0" * 64
    log.write_text(log.read_text() + json.dumps(change) + '\n{"path": "cal')

    found = journal.latest(project)

    assert found is not None
    assert found.restore().restored == ("calc.py",)
    assert tree(project) == before


def test_latest_finds_the_newest_run_of_this_workspace(project: Path, tmp_path: Path) -> None:
    """Other projects' runs and runs that changed nothing are passed over."""
    other = tmp_path / "other"
    other.mkdir()
    Journal.create(project, "first").write(project / "a.py", b"1")
    Journal.create(other, "other").write(other / "b.py", b"2")
    Journal.create(project, "nothing")

    found = journal.latest(project)

    assert found is not None
    assert [change.path for change in found.changes] == ["a.py"]
    found.restore()
    assert journal.latest(project) is None


def test_damaged_line_and_damaged_copy_are_errors(project: Path) -> None:
    """A journal that can't be trusted says so instead of writing nonsense."""
    run = Journal.create(project, "x")
    run.write(project / "calc.py", b"ours")
    next((run.folder / "blobs").iterdir()).write_bytes(b"flipped")
    with pytest.raises(JournalError, match="damaged"):
        run.restore()
    log = run.folder / "changes.jsonl"
    log.write_text("not json\n" + log.read_text())
    with pytest.raises(JournalError, match="line 1"):
        journal.latest(project)


def test_state_key_tells_trees_apart(project: Path) -> None:
    """Equal changes have equal keys, whatever the way to them; undone changes count as none."""
    run = Journal.create(project, "x")
    clean, original = run.state_key(), (project / "calc.py").read_bytes()
    run.write(project / "calc.py", b"a")
    one = run.state_key()
    run.write(project / "calc.py", b"b")
    run.write(project / "calc.py", b"a")

    assert one == run.state_key() != clean
    run.write(project / "calc.py", original)
    assert run.state_key() == clean


def test_journal_is_private(project: Path) -> None:
    """The user's code lies in it."""
    run = Journal.create(project, "x")
    run.write(project / "calc.py", b"a")

    assert run.folder.stat().st_mode & 0o077 == 0
    assert (run.folder / "changes.jsonl").stat().st_mode & 0o077 == 0


def test_old_journals_are_forgotten(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest are kept."""
    monkeypatch.setattr(journal, "MAX_JOURNALS", 3)
    for _ in range(6):
        Journal.create(project, "x")

    assert len(list(journal.journals_dir().iterdir())) == 4
