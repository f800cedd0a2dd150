"""The journal: what a run changed is taken back byte by byte, and what a person changed stays."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from qcn_agent.agent import journal
from qcn_agent.agent.journal import Journal
from qcn_agent.errors import DamagedJournalError, LiveRunError
from qcn_tools.base import ChangedMeanwhileError
from qcn_tools.workspace import PathRefused

Tree = Callable[[Path], dict[str, tuple[bytes, int]]]


def write(run: Journal, path: Path, data: bytes) -> None:
    """Write as a tool does: on top of what is there."""
    run.write(path, data, path.read_bytes() if path.exists() else None)


def reopened(run: Journal) -> Journal:
    """The journal as another process finds it after the run has ended."""
    run.close()
    found = journal.find(run.run_id, run.workspace)
    assert found is not None
    return found


def test_restore_is_byte_exact(project: Path, tree: Tree) -> None:
    """Contents, modes, times, new files and new folders are all as found."""
    (project / "calc.py").write_bytes(b"\xff\xfe odd bytes\r\n")
    (project / "calc.py").chmod(0o750)
    before, stamp = tree(project), (project / "calc.py").stat().st_mtime_ns
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"one")
    write(run, project / "calc.py", b"two")
    write(run, project / "new" / "deep" / "file.py", b"three")

    result = run.restore()

    assert sorted(result.restored) == ["calc.py", "new/deep/file.py"]
    assert tree(project) == before
    assert (project / "calc.py").stat().st_mtime_ns == stamp
    assert not (project / "new").exists()


def test_file_changed_by_a_person_stays(project: Path) -> None:
    """A file whose bytes are not ours is left alone and reported."""
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"ours")
    (project / "calc.py").write_bytes(b"theirs")

    result = run.restore()

    assert result.kept == ("calc.py",)
    assert (project / "calc.py").read_bytes() == b"theirs"


def test_change_of_a_person_between_two_of_ours_is_not_lost(project: Path) -> None:
    """Where the later write holds a person's work too, the file stays."""
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"ours\n")
    (project / "calc.py").write_bytes(b"ours\ntheirs\n")
    write(run, project / "calc.py", b"ours again\ntheirs\n")

    assert run.restore().kept == ("calc.py",)
    assert b"theirs" in (project / "calc.py").read_bytes()


def test_file_deleted_by_a_person_stays_deleted(project: Path) -> None:
    """Putting back is not resurrecting."""
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"ours")
    (project / "calc.py").unlink()

    assert run.restore().kept == ("calc.py",)
    assert not (project / "calc.py").exists()


def test_crash_between_record_and_write_restores(project: Path, tree: Tree) -> None:
    """A recorded change that never reached the file costs nothing; neither does a half-written line."""
    before = tree(project)
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"ours")
    log = run.folder / "changes.jsonl"
    change = json.loads(log.read_text())
    change["before"], change["after"] = change["after"], "0" * 64
    log.write_text(log.read_text() + json.dumps(change) + '\n{"path": "cal')

    assert reopened(run).restore().restored == ("calc.py",)
    assert tree(project) == before


def test_latest_finds_the_newest_run_of_this_workspace(project: Path, tmp_path: Path) -> None:
    """Other projects' runs and runs that changed nothing are passed over."""
    other = tmp_path / "other"
    other.mkdir()
    first = Journal.create(project, "first")
    write(first, project / "a.py", b"1")
    first.close()
    elsewhere = Journal.create(other, "other")
    write(elsewhere, other / "b.py", b"2")
    elsewhere.close()
    Journal.create(project, "nothing")

    found = journal.latest(project)

    assert found is not None
    assert [change.path for change in found.changes] == ["a.py"]
    found.restore()
    found.close()
    assert journal.latest(project) is None


def test_damaged_copy_costs_one_file_and_stays_on_record(project: Path) -> None:
    """What can't be put back is reported, the rest is put back, and a later try is possible."""
    original = (project / "calc.py").read_bytes()
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"ours")
    blob = next((run.folder / "blobs").iterdir())
    blob.write_bytes(b"flipped")
    write(run, project / "new.py", b"ours")

    result = run.restore()

    assert result.restored == ("new.py",)
    assert "damaged" in result.failed[0]
    blob.write_bytes(original)
    assert reopened(run).restore().restored == ("calc.py",)
    assert (project / "calc.py").read_bytes() == original


def test_mixed_names_what_somebody_else_saved(project: Path) -> None:
    """Before it is taken back and after: the files with foreign bytes, each with a copy of what the run found."""
    found = (project / "calc.py").read_bytes()
    run = Journal.create(project, "x")
    for name in ("calc.py", "new.py", "conftest.py"):
        write(run, project / name, b"ours")
    assert run.mixed() == {}
    (project / "calc.py").write_bytes(b"ours and theirs")
    (project / "new.py").write_bytes(b"all theirs")
    (project / "conftest.py").unlink()

    before = run.mixed()
    run.restore()

    assert before == run.mixed()
    assert list(before) == ["calc.py", "new.py", "conftest.py"]
    assert before["calc.py"] is not None
    assert before["calc.py"].read_bytes() == found
    assert before["new.py"] is None
    assert (project / "calc.py").read_bytes() == b"ours and theirs"


def test_file_that_may_not_be_written_any_more_stops_no_other(project: Path) -> None:
    """A person made one file read-only: it is reported, the rest is put back."""
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"ours")
    write(run, project / "conftest.py", b"ours")
    (project / "calc.py").chmod(0o444)

    result = run.restore()

    assert result.restored == ("conftest.py",)
    assert "calc.py: it is read-only" in result.failed[0]
    assert run.is_in_tree()


def test_nameless_journal_is_damaged_unless_another_one_fits(project: Path) -> None:
    """Without its run.json a record belongs to nobody; that is said where nothing else can be taken back."""
    lost = Journal.create(project, "x", "20990101-000000-abcdef")
    write(lost, project / "calc.py", b"ours")
    (lost.folder / "run.json").write_text("")
    lost.close()

    with pytest.raises(DamagedJournalError, match="which project"):
        journal.latest(project)
    run = Journal.create(project, "x")
    write(run, project / "new.py", b"ours")
    run.close()
    found = journal.latest(project)
    assert found is not None
    assert found.run_id == run.run_id


def test_latest_of_several_workspaces_is_the_newest(project: Path, tmp_path: Path) -> None:
    """A run in a subfolder and one in the project: the later one is meant."""
    for number, (root, name) in enumerate(((project, "a.py"), (project / "tests", "b.py"))):
        run = Journal.create(root, "x", f"20260101-00000{number}-abcdef")
        write(run, root / name, b"1")
        run.close()

    newest, only = journal.latest(project, project / "tests"), journal.latest(project)

    assert newest is not None
    assert newest.workspace == project / "tests"
    assert only is not None
    assert only.workspace == project


def test_damaged_line_is_an_error(project: Path) -> None:
    """A record that can't be trusted says so, and where the copies are, instead of writing nonsense."""
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"ours")
    log = run.folder / "changes.jsonl"
    log.write_text("not json\n" + log.read_text())
    run.close()

    with pytest.raises(DamagedJournalError, match="line 1") as caught:
        journal.latest(project)
    assert str(run.folder / "blobs") in caught.value.hint


def test_write_on_top_of_something_else_is_refused(project: Path) -> None:
    """A person who saves while the agent thinks keeps what they saved, and nothing is on record."""
    run = Journal.create(project, "x")
    read = (project / "calc.py").read_bytes()
    (project / "calc.py").write_bytes(b"saved by a person")

    with pytest.raises(ChangedMeanwhileError):
        run.write(project / "calc.py", b"ours", read)
    with pytest.raises(ChangedMeanwhileError):
        run.write(project / "calc.py", b"ours", None)

    assert (project / "calc.py").read_bytes() == b"saved by a person"
    assert run.changes == ()


def test_failed_write_does_not_spoil_the_record(project: Path, tree: Tree) -> None:
    """After a write that failed, later changes of the same file are still ours to take back."""
    before = tree(project)
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"one")
    blocked = project / "calc.py" / "below.py"
    with pytest.raises((OSError, PathRefused)):
        run.write(blocked, b"x", None)
    write(run, project / "calc.py", b"two")

    assert reopened(run).restore().kept == ()
    assert tree(project) == before


def test_live_run_is_not_taken_back(project: Path) -> None:
    """Undo waits until the run is over."""
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"ours")

    with pytest.raises(LiveRunError, match="still going on"):
        journal.latest(project)
    with pytest.raises(LiveRunError, match="still going on"):
        journal.find(run.run_id, project)
    run.close()
    assert journal.latest(project) is not None


def test_find_looks_at_one_run_only(project: Path) -> None:
    """A run that changed nothing has nothing to take back, whatever earlier ones did."""
    first = Journal.create(project, "accepted")
    write(first, project / "calc.py", b"fixed")
    first.close()
    second = Journal.create(project, "died early", "20990101-000000-abcdef")
    second.close()

    assert journal.find("20990101-000000-abcdef", project) is None


def test_state_key_tells_trees_apart(project: Path) -> None:
    """Equal changes have equal keys, whatever the way to them; undone changes count as none."""
    run = Journal.create(project, "x")
    clean, original = run.state_key(), (project / "calc.py").read_bytes()
    write(run, project / "calc.py", b"a")
    one = run.state_key()
    write(run, project / "calc.py", b"b")
    write(run, project / "calc.py", b"a")

    assert one == run.state_key() != clean
    write(run, project / "calc.py", original)
    assert run.state_key() == clean


def test_journal_is_private(project: Path) -> None:
    """The user's code lies in it."""
    run = Journal.create(project, "x")
    write(run, project / "calc.py", b"a")

    assert run.folder.stat().st_mode & 0o077 == 0
    assert (run.folder / "changes.jsonl").stat().st_mode & 0o077 == 0
