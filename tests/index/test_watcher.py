"""Changes are noticed as they happen."""

import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers import Observer

from qcn_agent.index.watcher import MAX_PATHS, Watcher
from tests.fakes.indexed import write_tree

Told = queue.Queue[frozenset[str] | None]
WAIT_S = 10.0


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Something to watch."""
    write_tree(tmp_path / "w", {"a.py": "1", "sub/b.py": "1", ".git/HEAD": "ref: x", "node_modules/m.js": "1"})
    return tmp_path / "w"


@pytest.fixture
def told(workspace: Path) -> Iterator[Told]:
    """What the watcher tells."""
    heard: Told = queue.Queue()
    watcher = Watcher(workspace, heard.put)
    assert watcher.start()
    yield heard
    watcher.close()


def until(heard: Told, is_enough: Callable[[set[str]], bool]) -> set[str]:
    """The paths told until they are enough; a burst may be told in parts."""
    paths: set[str] = set()
    while not is_enough(paths):
        paths |= heard.get(timeout=WAIT_S) or set()
    return paths


def test_a_saved_file_is_told(workspace: Path, told: Told) -> None:
    """By its path relative to the workspace."""
    write_tree(workspace, {"sub/b.py": "2"})

    assert until(told, bool) == {"sub/b.py"}


def test_both_ends_of_a_rename_are_told(workspace: Path, told: Told) -> None:
    """As is a new file, and one that is gone."""
    (workspace / "a.py").rename(workspace / "c.py")
    assert until(told, lambda paths: len(paths) == 2) == {"a.py", "c.py"}
    (workspace / "c.py").unlink()
    assert until(told, bool) == {"c.py"}


def test_what_is_never_indexed_is_not_told(workspace: Path, told: Told) -> None:
    """Git's own files and installed packages are not worth a look."""
    write_tree(workspace, {".git/index": "x", "node_modules/m.js": "2", ".git/objects/aa": "x"})
    write_tree(workspace, {"a.py": "2"})

    assert until(told, bool) == {"a.py"}


@pytest.mark.parametrize("name", [".git/HEAD", ".gitignore", "sub/.gitignore", ".qcnignore"])
def test_a_file_that_rules_the_others_means_all(workspace: Path, told: Told, name: str) -> None:
    """Another branch, other ignore rules."""
    write_tree(workspace, {name: "x"})

    assert told.get(timeout=WAIT_S) is None


def test_a_folder_that_moves_means_all(workspace: Path, told: Told) -> None:
    """Its files are not told one by one."""
    (workspace / "sub").rename(workspace / "other")

    assert told.get(timeout=WAIT_S) is None


def test_a_flood_means_all(workspace: Path) -> None:
    """A scan is cheaper than a thousand looks."""
    heard: Told = queue.Queue()
    watcher = Watcher(workspace, heard.put)
    for number in range(MAX_PATHS + 1):
        watcher._paths.add(f"f{number}")
    assert watcher.start()
    write_tree(workspace, {"a.py": "2"})

    assert heard.get(timeout=WAIT_S) is None
    watcher.close()


def test_without_notifications_it_says_so(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the system's watches run out; closing it is safe then."""

    def no_room(_observer: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(Observer, "start", no_room)
    watcher = Watcher(workspace, lambda _paths: None)

    assert not watcher.start()
    watcher.close()


def test_a_closed_watcher_is_silent(workspace: Path) -> None:
    """Its threads are gone."""
    heard: Told = queue.Queue()
    watcher = Watcher(workspace, heard.put)
    assert watcher.start()
    watcher.close()

    write_tree(workspace, {"a.py": "2"})

    assert not watcher._thread.is_alive()
    assert not watcher._observer.is_alive()
    assert heard.empty()
