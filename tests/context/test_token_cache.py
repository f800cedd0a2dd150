"""Tokens kept by the hash of their text, in a file that may break."""

import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.context.token_cache import TokenCache, forget_caches
from qcn_agent.engine.generator import IntArray


def tokens(seed: int, count: int = 10) -> IntArray:
    """Any token ids."""
    return np.random.default_rng(seed).integers(0, 9999, count).astype(np.int32)


def hashed(number: int) -> bytes:
    """A key."""
    return number.to_bytes(16, "big")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the cache is."""
    return tmp_path / "tokens" / "a-b.db"


def test_what_was_put_is_there_after_it_was_closed(file: Path) -> None:
    """More than one question's worth, and empty arrays, too."""
    cache = TokenCache(file, 1 << 20)
    pieces = {hashed(number): tokens(number, number % 7) for number in range(1200)}
    cache.put(pieces)
    cache.close()

    found = TokenCache(file, 1 << 20).get([*pieces, hashed(5000)])

    assert found.keys() == pieces.keys()
    assert all(np.array_equal(found[key], pieces[key]) for key in pieces)


def test_only_its_owner_can_read_it(file: Path) -> None:
    """Tokens are somebody's code."""
    TokenCache(file, 1 << 20).put({hashed(1): tokens(1)})

    modes = {stat.S_IMODE(place.stat().st_mode) & 0o077 for place in (file.parent, file)}

    assert modes == {0}


def test_what_was_unused_longest_goes(file: Path) -> None:
    """By days; what was asked for counts as used."""
    now = [1.7e9]
    cache = TokenCache(file, 300_000, clock=lambda: now[0])
    for number in range(4):
        now[0] += 86_400
        cache.put({hashed(number): tokens(number, 20_000)})
        if number:
            cache.get([hashed(0)])

    assert set(cache.get([hashed(number) for number in range(4)])) == {hashed(0), hashed(2), hashed(3)}
    cache.close()
    assert file.stat().st_size < 300_000


def test_damaged_file_is_made_anew(file: Path) -> None:
    """It costs the tokens that were in it."""
    file.parent.mkdir()
    file.write_bytes(b"this is no database, and it is long enough to be looked at" * 100)
    cache = TokenCache(file, 1 << 20)

    assert cache.get([hashed(1)]) == {}
    cache.put({hashed(1): tokens(1)})
    assert cache.get([hashed(1)]).keys() == {hashed(1)}


def test_file_of_another_version_is_made_anew(file: Path) -> None:
    """Whatever was in it."""
    TokenCache(file, 1 << 20).put({hashed(1): tokens(1)})
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    assert TokenCache(file, 1 << 20).get([hashed(1)]) == {}


def test_without_a_place_to_write_everything_is_a_miss(tmp_path: Path) -> None:
    """Nothing fails."""
    (tmp_path / "file").write_text("")
    cache = TokenCache(tmp_path / "file" / "a.db", 1 << 20)

    cache.put({hashed(1): tokens(1)})

    assert cache.get([hashed(1)]) == {}


def test_forgetting_takes_one_name_or_all(tmp_path: Path) -> None:
    """All vocabularies of a project; a folder that is not there holds nothing."""
    for name in ("aa-1.db", "aa-2.db", "aa-2.db-wal", "ab-1.db"):
        (tmp_path / name).write_text("")

    assert forget_caches(tmp_path, "aa") == 3
    assert [file.name for file in tmp_path.iterdir()] == ["ab-1.db"]
    assert forget_caches(tmp_path, None) == 1
    assert forget_caches(tmp_path / "gone", None) == 0
