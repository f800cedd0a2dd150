"""What a start finds on disk becomes the first content of its cache."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.engine.adoption import adopt
from qcn_agent.engine.arena import Arena, Blob, Identity, path_keys
from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.generator import IntArray
from qcn_agent.engine.integrity import check_integrity
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.prefix_tree import path_hash
from qcn_agent.engine.residency import Residency
from qcn_agent.engine.tiers import Tiers

RandomTokens = Callable[[int, int], IntArray]
DATA = np.zeros(100, np.uint8)


class Disk:
    """A folder that is filled by hand, and what a start makes of it."""

    def __init__(self, backend: LlamaBackend, folder: Path) -> None:
        self._backend = backend
        self._folder = folder

    def write(self, path: IntArray, start: int, owner: str) -> None:
        """The KV of the path from `start` on; the state at its end where `start` is that."""
        before, after = path_keys(path_hash(), path, [start, len(path)])
        tokens = path[start:]
        identity = Identity(start, len(path), before, after, tokens.tobytes(), bytes(len(tokens)))
        blob = Blob(DATA, len(DATA), start, len(tokens), owners={owner})
        store = self._store()
        file = store.write(identity, DATA, frozenset(blob.owners))
        assert file is not None

    def adopt(self) -> Residency:
        """A start."""
        store = self._store()
        kept = Residency(self._backend, 4, Tiers(self._backend, Arena(1 << 20), store, via=4))
        adopt(kept, store)
        check_integrity(kept, self._backend)
        return kept

    def names(self) -> list[str]:
        """The owners of each file."""
        return sorted(file.name.partition(".")[2] for file in self._folder.rglob("*") if file.is_file())

    def _store(self) -> DiskStore:
        return DiskStore(self._folder, "model", 1 << 20)


@pytest.fixture
def disk(backend: LlamaBackend, tmp_path: Path) -> Disk:
    """Empty."""
    return Disk(backend, tmp_path / "kv")


def test_whoever_owns_a_path_owns_what_leads_to_it(disk: Disk, random_tokens: RandomTokens) -> None:
    """Also where the file's name did not say so yet when the daemon was killed."""
    path = random_tokens(50, 1)
    disk.write(path[:30], 0, "aa")
    disk.write(path, 30, "bb")
    disk.write(path, 50, "bb")
    kept = disk.adopt()
    assert sorted(sorted(node.projects) for node in kept.tree.nodes()) == [["aa", "bb"], ["bb"]]
    assert disk.names() == ["aa.bb", "bb", "bb"]


def test_a_path_may_part_inside_a_stretch(disk: Disk, random_tokens: RandomTokens) -> None:
    """It is split there; the file stays that of who has read its end."""
    path = random_tokens(50, 1)
    other = np.concatenate([path[:20], random_tokens(9, 2)])
    disk.write(path, 0, "aa")
    disk.write(path, 50, "aa")
    disk.write(other, 20, "bb")
    disk.write(other, 29, "bb")
    kept = disk.adopt()
    assert sorted(node.end for node in kept.tree.nodes()) == [20, 29, 50]
    assert disk.names() == ["aa", "aa", "bb", "bb"]


def test_what_nothing_leads_to_is_removed(disk: Disk, random_tokens: RandomTokens) -> None:
    """A stretch without its beginning, a state without its KV, KV without a state."""
    path = random_tokens(50, 1)
    disk.write(path, 30, "aa")
    disk.write(path, 50, "aa")
    disk.write(random_tokens(20, 2), 0, "bb")
    kept = disk.adopt()
    assert list(kept.tree.nodes()) == []
    assert disk.names() == []


def test_the_same_content_twice_is_kept_once_and_is_of_both(disk: Disk, random_tokens: RandomTokens) -> None:
    """Two daemons wrote it for two projects."""
    path = random_tokens(30, 1)
    for owner in ("aa", "bb"):
        disk.write(path, 0, owner)
        disk.write(path, 30, owner)
    disk.adopt()
    assert disk.names() == ["aa.bb", "aa.bb"]
