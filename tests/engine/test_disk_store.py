"""Blobs as files: complete or absent, and whatever is wrong with one is a miss."""

import json
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.engine.arena import Blob, Identity
from qcn_agent.engine.backend import BlobLostError
from qcn_agent.engine.disk_store import DiskStore

DATA = np.arange(1000, dtype=np.uint8)
IDENTITY = Identity(3, 5, "before", "after", np.array([7, 8], np.int32).tobytes(), b"\x00\x01")


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    """Room for ten of our blobs."""
    return DiskStore(tmp_path, "model a", 10_000)


def _written(store: DiskStore, identity: Identity = IDENTITY) -> Blob:
    blob = Blob(DATA, len(DATA), identity.start, identity.end - identity.start)
    file = store.write(identity, DATA)
    assert file is not None
    store.note(blob, file)
    return blob


def test_what_was_written_is_read_back(store: DiskStore) -> None:
    """Byte for byte, and found again with its identity by a new store of the same model."""
    blob = _written(store)
    assert np.array_equal(store.read(blob), DATA)
    (found,) = DiskStore(store._folder.parent, "model a", 10_000).load()
    assert found.identity == IDENTITY
    assert found.num_bytes == len(DATA)


def test_another_model_finds_nothing(store: DiskStore, tmp_path: Path) -> None:
    """Other weights, other KV type, other build: another folder."""
    _written(store)
    assert DiskStore(tmp_path, "model b", 10_000).load() == []


def test_a_file_of_another_model_in_our_folder_is_refused(store: DiskStore, tmp_path: Path) -> None:
    """Moved by hand or by a hash collision: its header gives it away."""
    other = DiskStore(tmp_path, "model b", 10_000)
    blob = _written(other)
    assert blob.file is not None
    store._folder.mkdir(exist_ok=True)
    blob.file.rename(store._folder / blob.file.name)
    assert store.load() == []


@pytest.mark.parametrize("where", [0.0, 0.1, 0.3, 0.6, 0.999])
def test_a_flipped_bit_is_a_miss(store: DiskStore, where: float) -> None:
    """In the header, the tokens or the payload: the blob is lost and its file gone."""
    blob = _written(store)
    assert blob.file is not None
    file, data = blob.file, bytearray(blob.file.read_bytes())
    data[int(where * len(data))] ^= 4
    file.write_bytes(data)
    with pytest.raises(BlobLostError):
        store.read(blob)
    assert not file.exists()
    assert store.num_bytes == 0


@pytest.mark.parametrize("size", [0, 1, 100, 500, -1])
def test_a_truncated_file_is_not_found_again(store: DiskStore, size: int) -> None:
    """Nor can it be read by who still knows it."""
    blob = _written(store)
    assert blob.file is not None
    data = blob.file.read_bytes()
    blob.file.write_bytes(data[:size])
    with pytest.raises(BlobLostError):
        DiskStore(store._folder.parent, "model a", 10_000).read(Blob(None, 1000, 3, 2, blob.file))
    blob.file.parent.mkdir(exist_ok=True)
    blob.file.write_bytes(data[:size])
    assert store.load() == []


def test_what_other_settings_have_left_counts_at_the_start(tmp_path: Path) -> None:
    """The budget is that of all models: the latest files of others stay beside ours, old ones go in any case."""
    others = [_written(DiskStore(tmp_path, name, 10_000)).file for name in ("old", "earlier", "later")]
    for file, age_s in zip(others, (40 * 86_400, 200, 100), strict=True):
        assert file is not None
        os.utime(file, (time.time() - age_s,) * 2)
    _written(DiskStore(tmp_path, "model a", 10_000))
    assert len(DiskStore(tmp_path, "model a", 10_000).load()) == 1
    assert [file.exists() for file in others if file] == [False, True, True]
    assert len(DiskStore(tmp_path, "model a", 3_000).load()) == 1
    assert [file.parent.exists() for file in others if file] == [False, False, True]


def test_only_folders_of_ours_are_swept(tmp_path: Path) -> None:
    """Not a link, not a folder of another name, not a file that is just being written."""
    away, link = tmp_path / "away", tmp_path / "kv" / ("a" * 32)
    kept = [away / "x", tmp_path / "kv" / "notes" / "x", tmp_path / "kv" / ("b" * 32) / "x.tmp"]
    for file in kept:
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(5000))
    link.symlink_to(away)
    DiskStore(tmp_path / "kv", "model a", 10).load()
    assert all(file.exists() for file in kept)


@pytest.mark.parametrize("line", [b"", b"{}\n", b"[1]\n", b"null\n", b'{"magic": 1}\n', b"\xff\xfe\n", b"x" * 9000])
def test_foreign_files_are_swept_away(store: DiskStore, line: bytes) -> None:
    """Half-written temporary files of a crash, too."""
    _written(store)
    (store._folder / "stray").write_bytes(line)
    assert len(store.load()) == 1
    assert not (store._folder / "stray").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"start": 0, "end": 10**18},
        {"start": 3.0},
        {"start": float("inf")},
        {"start": True},
        {"num_bytes": -1},
        {"num_bytes": 10**18},
        {"before": ["x"]},
        {"after": None},
        {"extra": 1},
    ],
)
def test_a_header_that_lies_is_no_use(store: DiskStore, change: dict[str, object]) -> None:
    """It is neither believed nor does it end the start."""
    blob = _written(store)
    assert blob.file is not None
    line, _, rest = blob.file.read_bytes().partition(b"\n")
    blob.file.write_bytes(json.dumps(json.loads(line) | change).encode() + b"\n" + rest)
    assert store.load() == []


def test_what_is_no_plain_file_neither_blocks_nor_ends_the_start(store: DiskStore, tmp_path: Path) -> None:
    """A pipe, a folder, a link, a device where we may make one, an endless nesting, a file of an absurd length."""
    blob = _written(store)
    assert blob.file is not None
    folder = blob.file.parent
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (tmp_path / "target").write_bytes(blob.file.read_bytes())
    (folder / "link").symlink_to(tmp_path / "target")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "nested").write_bytes(b"[" * 4000 + b"\n")
    with (folder / "sparse").open("wb") as stream:
        stream.write(blob.file.read_bytes())
        stream.truncate(1 << 40)
    (found,) = store.load()
    assert found.file == blob.file
    assert {file.name for file in folder.iterdir()} == {blob.file.name, "folder"}
    assert (tmp_path / "target").exists()


def test_a_file_that_became_a_pipe_is_a_miss(store: DiskStore) -> None:
    """Reading it does not wait for a writer."""
    blob = _written(store)
    assert blob.file is not None
    blob.file.unlink()
    os.mkfifo(blob.file)
    with pytest.raises(BlobLostError):
        store.read(blob)


@pytest.mark.parametrize("what", ["open", "link", "file"])
def test_a_folder_that_can_t_be_trusted_is_no_disk(tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line says why; nothing is read or written there, and nothing fails."""
    store = DiskStore(tmp_path, "model a", 10_000)
    _written(store)
    folder = store._folder
    if what == "open":
        folder.chmod(0o755)
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere") if what == "link" else folder.touch()
    again = DiskStore(tmp_path, "model a", 10_000)
    assert again.load() == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not again.has_room(1)
    late = DiskStore(tmp_path, "model a", 10_000)
    assert late.write(Identity(9, 9, "b", "a"), DATA) is None
    assert late.is_broken


def test_a_leftover_of_a_crash_is_not_in_the_way(store: DiskStore) -> None:
    """Nor is it written through: a temporary file never had this name before."""
    blob = _written(store)
    assert blob.file is not None
    leftover = blob.file.with_suffix(f".{os.getpid()}.tmp")
    leftover.symlink_to(store._folder / "target")
    _written(store)
    assert not (store._folder / "target").exists()


def test_a_file_says_whose_it_is(store: DiskStore) -> None:
    """As it was when it was written, and after others came; a new store knows it."""
    blob = _written(store)
    for owners in ({"a1"}, {"a1", "b2"}, {"a1", "b2", ""}):
        blob.owners = owners
        store.rename(blob)
        (found,) = DiskStore(store._folder.parent, "model a", 10_000).load()
        assert (set(found.owners), found.file) == (owners, blob.file)
    assert np.array_equal(store.read(blob), DATA)


def test_a_file_that_can_t_be_renamed_keeps_its_owners(store: DiskStore) -> None:
    """Somebody deleted it: that shows when it is read."""
    blob = _written(store)
    assert blob.file is not None
    file = blob.file
    file.unlink()
    blob.owners = {"a1"}
    store.rename(blob)
    assert blob.file == file


def test_old_files_are_swept_away(store: DiskStore) -> None:
    """A month after it was written the user's code is gone from the disk."""
    blob = _written(store)
    assert blob.file is not None
    month = 31 * 86_400
    os.utime(blob.file, (blob.file.stat().st_mtime - month,) * 2)
    assert store.load() == []
    assert not blob.file.exists()


def test_files_are_private(store: DiskStore) -> None:
    """They hold the user's code."""
    blob = _written(store)
    assert blob.file is not None
    assert stat.S_IMODE(blob.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(blob.file.parent.stat().st_mode) == 0o700


def test_a_missing_file_is_a_miss(store: DiskStore) -> None:
    """Somebody emptied the cache while we ran."""
    blob = _written(store)
    assert blob.file is not None
    blob.file.unlink()
    with pytest.raises(BlobLostError):
        store.read(blob)


def test_a_full_disk_ends_writing_and_nothing_else() -> None:
    """No exception, no half-written file, and no second try in this run; what is there can still be read."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    store = DiskStore(Path("/dev/full/nowhere"), "model a", 10_000)
    assert store.has_room(10)
    assert store.write(IDENTITY, DATA) is None
    assert not store.has_room(10)


def test_the_budget_is_kept(store: DiskStore) -> None:
    """There is room for as many bytes as it says."""
    for number in range(9):
        _written(store, Identity(number, number, f"b{number}", f"a{number}"))
    assert store.has_room(1000)
    assert not store.has_room(1001)


def test_concurrent_writers_leave_one_complete_file(store: DiskStore, tmp_path: Path) -> None:
    """Two daemons of one user write the same content under the same name."""
    other = DiskStore(tmp_path, "model a", 10_000)
    first, second = _written(store), _written(other)
    assert first.file == second.file
    assert np.array_equal(store.read(first), DATA)
    assert [file for file in store._folder.iterdir() if file.suffix == ".tmp"] == []


def test_kv_comes_before_states_and_short_paths_before_long_ones(store: DiskStore) -> None:
    """So each file finds what it hangs on."""
    for identity in (Identity(5, 5, "b", "b"), Identity(5, 9, "b", "c", bytes(16), bytes(4)), IDENTITY):
        _written(store, identity)
    assert [(found.identity.start, found.identity.end) for found in store.load()] == [(3, 5), (5, 9), (5, 5)]
