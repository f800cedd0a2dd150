"""What is said about a file that a person saved during a run."""

from pathlib import Path

from qcn_agent.agent.journal import Journal
from qcn_agent.agent.mixed import mixed_warnings


def test_each_file_has_a_sentence_of_its_own(project: Path) -> None:
    """Saved, deleted and created files: what happened, that undo does not help, where the copy is."""
    run = Journal.create(project, "x")
    for name in ("calc.py", "conftest.py", "new.py", "untouched.py"):
        path = project / name
        run.write(path, b"ours", path.read_bytes() if path.exists() else None)
    (project / "calc.py").write_bytes(b"ours and theirs")
    (project / "conftest.py").unlink()
    (project / "new.py").write_bytes(b"theirs")

    saved, deleted, created = mixed_warnings(run)

    assert "calc.py was saved by somebody else" in saved
    assert "it may hold both changes" in saved
    assert Path(saved.rpartition(": ")[2]).is_file()
    assert "conftest.py was deleted" in deleted
    assert "stays deleted" in deleted
    assert created.startswith("new.py was saved")
    assert created.endswith("The agent had created it")
    assert all("undo can't separate" in text for text in (saved, deleted, created))
