"""A policy and a passage on a fake clock."""

import pytest

from qcn_agent.completion.rates import straight
from qcn_agent.engine.backend import Backend
from tests.bench.policy_oracle import Recording
from tests.bench.policy_replay import OURS, POLICIES, Load, Outcome, Scene, replay
from tests.bench.typing_traces import passage
from tests.fakes.virtual_time import run

RECORDING = Recording(passage(3, 1))
RATES = straight(2137.0, 9.6)


def outcome(
    real: Backend, policy: str, load: Load = "idle", *, gap_ms: float = 120.0, is_hybrid: bool = True
) -> Outcome:
    """One line typed."""
    return run(replay(policy, Scene(RECORDING, gap_ms, RATES, load=load, is_hybrid=is_hybrid), real))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_is_counted(real: Backend, policy: str) -> None:
    """All of them show something useful of a model that knows the text, and nothing stale; twice the same."""
    found = outcome(real, policy)
    assert found == outcome(real, policy)
    assert found.num_keys == len(RECORDING.passage.text)
    assert 0 < found.num_useful <= found.num_keys
    assert 0 < found.useful_ms <= found.total_ms
    assert found.num_evaluated > found.num_generated > 0
    assert 0 <= found.num_unseen < found.num_generated
    assert (found.num_stale, found.num_starts > 0) == (0, True)


def test_ours_is_as_useful_as_the_best_and_reads_a_fraction(real: Backend) -> None:
    """The comparison in small."""
    ours, theirs = outcome(real, "ours"), outcome(real, "llama.vim-like")
    assert ours.num_useful >= 0.8 * theirs.num_useful
    assert ours.num_evaluated < 0.5 * theirs.num_evaluated
    assert ours.num_requests == ours.num_keys
    assert ours.num_in_budget >= 0.95 * ours.num_passed
    assert max(ours.steps_after_cancel, default=0) <= 1


def test_an_agent_that_writes_costs_ours_a_call_at_most(real: Backend) -> None:
    """What it shows is the same."""
    idle, busy = outcome(real, "ours"), outcome(real, "ours", "writes")
    assert busy.num_useful >= 0.9 * idle.num_useful
    assert min(busy.reply_ms) <= 1.3 * min(idle.reply_ms) + 20


def test_an_agent_that_reads_keeps_a_server_busy(real: Backend) -> None:
    """Whoever has no priorities waits for it."""
    idle, busy = outcome(real, "llama.vim-like"), outcome(real, "llama.vim-like", "reads")
    assert busy.num_useful < idle.num_useful


def test_ours_keeps_the_suffix_cached_in_one_order_only(real: Backend) -> None:
    """Of the two orders the SPM-like one reads less."""
    spm, psm = (outcome(real, policy) for policy in OURS)
    assert spm.num_evaluated <= psm.num_evaluated


def test_outcomes_add_up() -> None:
    """Counters and times."""
    one = Outcome(num_keys=1, reply_ms=(2.0,), num_unseen=0.5)
    assert one + one == Outcome(num_keys=2, reply_ms=(2.0, 2.0), num_unseen=1.0)
