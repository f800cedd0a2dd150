"""Worker processes: one that dies or hangs takes one file with it."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qcn_agent.index import pool as pool_module
from qcn_agent.index.files import list_files, read_file
from qcn_agent.index.limits import MAX_BYTES
from qcn_agent.index.messages import Request, Unchanged, frame_of, message_of
from qcn_agent.index.pool import Worker, WorkerLostError, WorkerPool
from qcn_agent.index.record import Depth, FileRecord, content_hash
from qcn_agent.index.words import WordSplitter
from qcn_agent.index.worker import answer
from tests.fakes.indexed import write_tree


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Some files; names tell the workers of these tests what to do."""
    root = tmp_path / "w"
    write_tree(
        root,
        {"good.py": "def good(): pass\n", "crash.py": "def bad(): pass\n", "hang.py": "x = 1\n", "z.py": "y = 2\n"},
    )
    return root


class Troubled(Worker):
    """A worker whose process is stopped, or killed, when it is given a file of that name to parse."""

    def ask(self, request: Request) -> bytes:
        """As a crash in a parser would."""
        name, _known, is_text_only = request
        if name == "crash.py" and not is_text_only:
            os.kill(self.pid, signal.SIGKILL)
        if name == "hang.py" and not is_text_only:
            os.kill(self.pid, signal.SIGSTOP)
        if name == "lost.py":
            os.kill(self.pid, signal.SIGKILL)
        return super().ask(request)


@pytest.fixture
def troubled(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    """A pool of them, with little patience."""
    monkeypatch.setattr(pool_module, "Worker", Troubled)
    pool = WorkerPool(workspace, 2, budget_s=4.0)  # a process takes a second to start where others work
    yield pool
    pool.close()


def depths(pool: WorkerPool, *names: str) -> dict[str, Depth | None]:
    """How far each file was read."""
    answers = dict(pool.run((name, b"") for name in names))
    return {name: found.depth if isinstance(found, FileRecord) else None for name, found in answers.items()}


def test_a_crash_costs_that_file_its_tree(troubled: WorkerPool) -> None:
    """It is read again as text; the others are as they would have been."""
    assert depths(troubled, "good.py", "crash.py", "z.py") == {
        "good.py": Depth.PARSED,
        "crash.py": Depth.TEXT,
        "z.py": Depth.PARSED,
    }
    assert troubled.num_lost == 1


def test_a_hang_is_ended_after_the_budget(troubled: WorkerPool) -> None:
    """And costs that file its tree."""
    assert depths(troubled, "hang.py", "z.py") == {"hang.py": Depth.TEXT, "z.py": Depth.PARSED}


def test_a_file_that_kills_every_worker_is_known_by_its_path(troubled: WorkerPool, workspace: Path) -> None:
    """It is not tried for ever."""
    write_tree(workspace, {"lost.py": "x = 1\n"})

    assert depths(troubled, "lost.py", "gone_and_lost.py") == {"lost.py": Depth.PATH, "gone_and_lost.py": None}
    assert troubled.num_lost == 2


def test_every_request_is_answered_once(tmp_path: Path) -> None:
    """By several workers, in any order."""
    names = {f"f{number}.py": f"x{number} = 1\n" for number in range(50)}
    write_tree(tmp_path, names)
    pool = WorkerPool(tmp_path, 3)

    answered = [name for name, _answer in pool.run((name, b"") for name in names)]
    pool.close()

    assert sorted(answered) == sorted(names)


def test_a_consumer_that_stops_leaves_no_thread(tmp_path: Path) -> None:
    """Workers end with the pool."""
    write_tree(tmp_path, {f"f{number}.py": "x = 1\n" for number in range(200)})
    before = threading.active_count()
    pool = WorkerPool(tmp_path, 2)
    answers = pool.run((name, b"") for name in list_files(tmp_path))
    next(answers)

    answers.close()  # type: ignore[attr-defined]
    pool.close()

    assert threading.active_count() == before


def test_a_worker_stays_warm(workspace: Path) -> None:
    """The next file does not wait for an interpreter."""
    pool = WorkerPool(workspace, 2)
    pool.warm_up()
    warm = pool._idle[0].pid

    list(pool.run([("good.py", b"")]))

    assert [worker.pid for worker in pool._idle] == [warm]
    pool.close()


def test_a_worker_ends_with_its_stdin(workspace: Path) -> None:
    """So none is left when the indexer is killed."""
    worker = Worker(workspace, 5.0)
    worker.ask(("good.py", b"", False))
    process = worker._process
    assert process.stdin is not None

    process.stdin.close()

    assert process.wait(10) == 0
    worker.kill()


def test_a_worker_that_is_gone_is_said_to_be_lost(workspace: Path) -> None:
    """Not an error of pipes."""
    worker = Worker(workspace, 5.0)
    os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(WorkerLostError):
        worker.ask(("good.py", b"", False))


def test_answers_name_what_did_not_change(workspace: Path) -> None:
    """Same hash, no record; a path that is gone has no answer at all."""
    known = content_hash((workspace / "good.py").read_bytes())

    assert isinstance(answer(workspace, ("good.py", known, False), WordSplitter()), Unchanged)
    assert isinstance(answer(workspace, ("good.py", b"other", False), WordSplitter()), FileRecord)
    assert answer(workspace, ("nowhere.py", b"", False), WordSplitter()) is None


def test_a_record_survives_the_pipe(workspace: Path) -> None:
    """Names that are no UTF-8, too."""
    name = os.fsdecode(b"\xff\xfe.py")
    write_tree(workspace, {name: "def f(): pass\n"})
    record = answer(workspace, (name, b"", False), WordSplitter())

    assert message_of(frame_of(record)[4:]) == record


def test_reading_a_file_never_follows_or_waits(tmp_path: Path) -> None:
    """Links, pipes and folders are no files; a large one is not read."""
    write_tree(tmp_path, {"a.py": "text"})
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    os.mkfifo(tmp_path / "pipe.py")
    with (tmp_path / "sparse.py").open("wb") as file:
        file.truncate(1 << 30)

    read = read_file(tmp_path / "a.py")
    assert read is not None
    assert read[1] == b"text"
    assert [read_file(tmp_path / name) for name in ("link.py", "pipe.py", ".", "none.py", "a.py/x")] == [None] * 5
    large = read_file(tmp_path / "sparse.py")
    assert large is not None
    assert (large[0].size, large[1]) == (1 << 30, None)
    assert MAX_BYTES < 1 << 30
