"""Random operations never give a wrong logit and never unbalance the books. The long walk is `make fuzz`."""

from pathlib import Path

import pytest

from tests.engine.walk import walk


@pytest.mark.parametrize(
    ("num_states", "host_kib", "seed"), [(4, 0, 1), (4, 2048, 2), (6, 4096, 3), (12, 512, 4), (16, 65536, 5)]
)
def test_a_random_walk_agrees_with_the_oracle(
    hybrid_model_path: Path, num_states: int, host_kib: int, seed: int
) -> None:
    """Extensions, retries, rollbacks, forks, cancels, failed calls, spills, evictions and overlapping requests."""
    tally = walk(hybrid_model_path, 60, seed, num_states=num_states, host_kib=host_kib)
    assert tally.num_compared > 15
    assert tally.num_reused > 0


def test_pure_attention_walks_through_the_same_interface(attention_model_path: Path) -> None:
    """There are no states to keep: any point of a path can be gone on from."""
    tally = walk(attention_model_path, 150, 6, num_states=6, host_kib=1024)
    assert tally.num_compared > 30
    assert tally.num_reused > 0


@pytest.mark.parametrize("seed", [7, 8])
def test_full_copies_walk_through_the_same_interface(hybrid_model_path: Path, seed: int) -> None:
    """Where the self-test failed, snapshots are whole sequences: nothing leaves the device, and nothing is wrong."""
    tally = walk(hybrid_model_path, 80, seed, num_states=8, full_copies=True)
    assert tally.num_compared > 15
    assert tally.num_reused > 0


@pytest.mark.parametrize("seed", [9, 10])
def test_restarts_kills_and_damaged_files_cost_time_and_nothing_else(
    hybrid_model_path: Path, tmp_path: Path, seed: int
) -> None:
    """What comes back from disk gives the logits of the oracle; what can't be read is evaluated again."""
    tally = walk(hybrid_model_path, 120, seed, num_states=8, host_kib=8192, disk=tmp_path)
    assert tally.num_compared > 15
    assert tally.num_reused > 0
