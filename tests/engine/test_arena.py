"""The account of host memory."""

import numpy as np

from qcn_agent.engine.arena import Arena, path_keys
from qcn_agent.engine.prefix_tree import path_hash


def test_bytes_states_and_tokens_are_counted() -> None:
    """What is put in and given up again adds up; peaks remember."""
    arena = Arena(100)
    kv, state = arena.put(np.zeros(60, np.uint8), 0, 6), arena.put(np.zeros(30, np.uint8), 6, 0)
    assert (arena.num_bytes, arena.num_tokens, arena.num_states) == (90, 6, 1)
    assert arena.has_room(10)
    assert not arena.has_room(11)
    arena.empty(kv)
    arena.empty(kv)
    assert arena.release(state)
    assert (arena.num_bytes, arena.num_tokens, arena.num_states) == (0, 0, 0)
    assert (arena.peak_tokens, arena.peak_states) == (6, 1)


def test_a_shared_blob_goes_with_its_last_user() -> None:
    """After a split two nodes use it."""
    arena = Arena(100)
    blob = arena.put(np.zeros(10, np.uint8), 0, 4)
    blob.num_users = 2
    assert not arena.release(blob)
    assert arena.num_bytes == 10
    assert arena.release(blob)
    assert arena.num_bytes == 0


def test_an_emptied_blob_can_be_filled_again() -> None:
    """What was only on disk counts again once it is in memory, and only once."""
    arena = Arena(100)
    blob = arena.put(np.arange(10, dtype=np.uint8), 0, 4)
    arena.empty(blob)
    for _ in range(2):
        arena.fill(blob, np.arange(10, dtype=np.uint8))
    assert arena.num_bytes == 10


def test_paths_are_named_from_anywhere_on_the_way() -> None:
    """The names are those of the whole paths; what was hashed before is not touched."""
    tokens = np.arange(20, dtype=np.int32)
    digest = path_hash()
    digest.update(tokens[:8].tobytes())
    whole = path_keys(path_hash(), tokens, [8, 11, 20])
    assert path_keys(digest, tokens[8:], [3, 12]) == whole[1:]
    assert digest.hexdigest() == whole[0]
