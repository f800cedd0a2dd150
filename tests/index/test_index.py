"""The façade: a process that keeps the index, and one that asks it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qcn_agent import paths
from qcn_agent.errors import IndexingError
from qcn_agent.index import indexer
from qcn_agent.index.index import Index, workspace_key
from tests.fakes.indexed import everything, write_tree

FILES = {
    "pkg/core.py": "from pkg.util import helper\n\n\ndef run(x):\n    return helper(x)\n",
    "pkg/util.py": "def helper(x):\n    return x + 1\n",
    "tests/test_core.py": "from pkg.core import run\n",
}
WAIT_S = 20.0


@contextmanager
def opened(workspace: Path, *, watch: bool = False) -> Iterator[Index]:
    """An index with one worker, closed at the end."""
    index = Index.open(workspace, num_workers=1, watch=watch)
    try:
        yield index
    finally:
        index.close()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A small project."""
    write_tree(tmp_path / "w", FILES)
    return tmp_path / "w"


def holds_within(condition: Callable[[], bool], seconds: float = WAIT_S) -> bool:
    """Whether a condition comes true in time; asked every few milliseconds."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.005)):
        if condition():
            return True
        pause.wait(0.005)
    return False


def test_an_index_is_empty_until_it_is_refreshed(workspace: Path) -> None:
    """Opening costs nothing and starts nothing."""
    with opened(workspace) as index:
        assert index.files() == []
        assert index.status().num_files == 0

        result = index.refresh()

        assert (result.num_files, result.num_read) == (3, 3)
        assert [file.path for file in index.files()] == sorted(FILES)
        status = index.status()
        assert (status.phase, status.num_files, status.is_writer) == ("idle", 3, True)
        assert status.database_bytes > 0


def test_stale_files_are_counted(workspace: Path) -> None:
    """New, changed and gone ones; none after a refresh."""
    with opened(workspace) as index:
        assert index.num_stale() == len(FILES)
        index.refresh()
        assert index.num_stale() == 0
        write_tree(workspace, {"new.py": "x = 1\n", "pkg/util.py": "changed = True\n"})
        (workspace / "pkg" / "core.py").unlink()

        assert index.num_stale() == 3


def test_nothing_is_written_into_the_workspace(
    workspace: Path, tree: Callable[[Path], dict[str, tuple[bytes, int]]]
) -> None:
    """The database lies in the cache, named after the real path; also through a link."""
    before = tree(workspace)
    link = workspace.parent / "link"
    link.symlink_to(workspace)
    with opened(link) as index:
        index.refresh()

    assert tree(workspace) == before
    assert (paths.cache_dir() / "index" / f"{workspace_key(workspace.resolve())}.db").exists()


def test_an_index_survives_its_process(workspace: Path) -> None:
    """Opened again it answers at once, and a refresh reads nothing."""
    with opened(workspace) as index:
        index.refresh()

    with opened(workspace) as index:
        assert len(index.files()) == 3
        assert index.refresh().num_read == 0


def test_progress_is_told(workspace: Path) -> None:
    """While it reads."""
    reports: list[tuple[int, int]] = []
    with opened(workspace) as index:
        index.refresh(lambda done, total: reports.append((done, total)))

    assert reports[-1] == (3, 3)


def test_an_update_looks_at_those_paths_only(workspace: Path) -> None:
    """For a caller that knows what it wrote."""
    with opened(workspace) as index:
        index.refresh()
        write_tree(workspace, {"pkg/util.py": "def assistant(): pass\n", "pkg/core.py": "x = 1\n"})

        assert index.update(["pkg/util.py"]).num_read == 1
        assert len(index.definitions_named("assistant")) == 1
        assert len(index.definitions_named("run")) == 1


def test_a_saved_file_becomes_visible_by_itself(workspace: Path) -> None:
    """With the watcher; created, changed and deleted."""
    with opened(workspace, watch=True) as index:
        index.refresh()
        assert index.status().is_watching

        write_tree(workspace, {"new.py": "def brand_new(): pass\n"})
        assert holds_within(lambda: bool(index.definitions_named("brand_new")))
        write_tree(workspace, {"new.py": "def changed(): pass\n"})
        assert holds_within(lambda: bool(index.definitions_named("changed")))
        assert index.definitions_named("brand_new") == []
        (workspace / "new.py").unlink()
        assert holds_within(lambda: index.file_at("new.py") is None)


def test_history_is_learnt_and_followed(workspace: Path, git: Callable[..., str]) -> None:
    """Co-change of the commit that is checked out."""
    git(workspace, "init", "-q")
    git(workspace, "add", "pkg")
    git(workspace, "commit", "-qm", "x")
    with opened(workspace) as index:
        index.refresh()
        core = index.file_at("pkg/core.py")
        assert core is not None

        assert [one.path for one in index.cochanged(core.file_id)] == ["pkg/util.py"]
        assert [one.path for one in index.imports_of(core.file_id)] == ["pkg/util.py"]
        assert [one.path for one in index.tests_of(core.file_id)] == ["tests/test_core.py"]


def test_several_workspaces_do_not_mix(workspace: Path, tmp_path: Path) -> None:
    """Each has its own process and database."""
    write_tree(tmp_path / "v", {"other.py": "def elsewhere(): pass\n"})
    with opened(workspace) as one, opened(tmp_path / "v") as other:
        one.refresh()
        other.refresh()

        assert [file.path for file in other.files()] == ["other.py"]
        assert one.definitions_named("elsewhere") == []


def test_two_daemons_on_one_workspace(workspace: Path) -> None:
    """One writes, both read; when the writer ends the other takes over."""
    with opened(workspace) as second:
        with opened(workspace) as first:
            first.refresh()
            assert second.refresh().num_read == 0
            assert (first.status().is_writer, second.status().is_writer) == (True, False)
            assert len(second.files()) == 3
        write_tree(workspace, {"late.py": "def late(): pass\n"})

        assert second.refresh().num_read == 1
        assert second.status().is_writer


def test_a_killed_indexer_is_started_again(workspace: Path) -> None:
    """What it had stored is there."""
    with opened(workspace) as index:
        index.refresh()
        pid = index._keeper.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert holds_within(lambda: index._keeper.pid is None)
        assert index.status().phase == "failed"

        write_tree(workspace, {"more.py": "x = 1\n"})

        assert index.refresh().num_read == 1
        assert index.status().phase == "idle"


def test_a_process_that_dies_at_work_is_an_error(workspace: Path) -> None:
    """With a hint, not a hang."""
    write_tree(workspace, {f"f{number}.py": "def f(): pass\n" for number in range(700)})
    with opened(workspace) as index:

        def kill(_done: int, _total: int) -> None:
            pid = index._keeper.pid
            if pid:
                os.kill(pid, signal.SIGKILL)

        with pytest.raises(IndexingError, match="ended") as failure:
            index.refresh(kill)
        assert failure.value.hint
        assert index.refresh().num_files == 703


def test_waiting_has_a_limit(workspace: Path) -> None:
    """The work goes on without the one who waited."""
    with opened(workspace) as index:
        with pytest.raises(IndexingError, match="still being built"):
            index.refresh(timeout_s=0.0)

        assert holds_within(lambda: len(index.files()) == 3)


def test_no_place_for_a_database_is_an_error_and_an_empty_index(workspace: Path) -> None:
    """Queries find nothing, the daemon lives."""
    place = paths.cache_dir()
    place.parent.mkdir(parents=True)
    place.write_text("a file where the folder should be")
    with opened(workspace) as index:
        with pytest.raises(IndexingError, match="can't be kept"):
            index.refresh()

        assert index.files() == []
        assert index.candidates({"helper": 1.0}, 5) == []
        assert index.status().phase == "failed"
        place.unlink()
        assert index.refresh().num_read == 3


def test_a_database_that_rots_is_made_anew(workspace: Path) -> None:
    """Between two runs; the next refresh notices and repairs it."""
    with opened(workspace) as index:
        index.refresh()
        good = everything(index._database_path)
        database = index._database_path
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))

    with opened(workspace) as index:
        index.refresh()
        index.refresh()

        assert everything(database) == good


def test_search_and_similar_use_the_indexed_files(workspace: Path) -> None:
    """Below a folder, if one is given."""
    write_tree(workspace, {".qcnignore": "hidden.py\n", "hidden.py": "helper\n"})
    with opened(workspace) as index:
        index.refresh()

        assert [match.path for match in index.search("helper").matches] == ["pkg/core.py", "pkg/core.py", "pkg/util.py"]
        assert [match.path for match in index.search("run", below="tests/").matches] == ["tests/test_core.py"]
        assert index.similar("def helper(y):\n    return y", "python")[0].path == "pkg/util.py"


def test_without_a_watcher_it_scans(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every few seconds, never more than a small share of the time."""
    said: list[str] = []
    monkeypatch.setattr("qcn_agent.index.watcher.Watcher.start", lambda _self: False)

    class Out:
        """Hears what the indexer says."""

        def write(self, line: str) -> None:
            """Remember it."""
            said.append(line)

        def flush(self) -> None:
            """Nothing is kept back."""

    keeper = indexer.Indexer(workspace, workspace.parent / "x.db", 1, Out())  # type: ignore[arg-type]
    keeper._watch()

    assert keeper._rescan_s == indexer.RESCAN_UNWATCHED_S
    assert '"is_live": false' in said[0]
    keeper._rescan_s = 0.0
    assert keeper._next_command() == {"do": "refresh"}
    keeper._close()
