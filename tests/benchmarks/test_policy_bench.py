"""The comparison: conditions, rows, targets."""

from dataclasses import replace

import pytest

from tests.bench.policy_bench import GAPS_MS, HEADER, SKILLS, Condition, Outcomes, conditions, row, summed, targets
from tests.bench.policy_replay import POLICIES, Outcome

GOOD = Outcome(
    num_keys=100,
    num_useful=96,
    useful_ms=50.0,
    total_ms=100.0,
    num_evaluated=200,
    num_generated=100,
    num_unseen=4.0,
    num_starts=5,
    reply_ms=(100.0, 110.0),
    num_requests=100,
    num_refused=10,
    steps_after_cancel=(0, 1),
)
OTHER = replace(GOOD, num_useful=100, num_evaluated=1500, num_unseen=10.0)


def outcomes(**changed: object) -> Outcomes:
    """Ours as good as it has to be, but for what is changed."""
    ours = replace(GOOD, **changed)  # type: ignore[arg-type]
    return {
        condition: {policy: ours if policy == "ours" else OTHER for policy in POLICIES} for condition in conditions()
    }


def test_conditions_cover_paces_models_and_an_agent() -> None:
    """None of them twice."""
    found = list(conditions())
    assert len(found) == len(set(found))
    assert {(one.model, one.gap_ms) for one in found} == {(model, gap) for model in SKILLS for gap in GAPS_MS}
    assert {one.load for one in found} == {"idle", "writes", "reads"}
    assert len({str(one) for one in found}) == len(found)


def test_a_row_has_a_cell_for_each_column() -> None:
    """Shares of keys and of time, tokens a key."""
    cells = row("ours", GOOD)
    assert len(cells) == len(HEADER)
    assert cells[1:4] == ["96%", "50%", "2.0"]


def test_sums_are_over_paces_of_a_hybrid() -> None:
    """Beside an agent is another sum."""
    found = outcomes()
    assert summed(found, "sure")["ours"].num_keys == 100 * len(GAPS_MS)
    assert summed(found, "sure", "reads")["ours"].num_keys == 100


def test_good_outcomes_meet_all() -> None:
    """Every target."""
    assert [target for target in targets(outcomes()) if not target.is_met] == []


@pytest.mark.parametrize(
    ("changed", "num_missed"),
    [
        ({"num_useful": 90}, 2),
        ({"num_evaluated": 400}, 2),
        ({"num_unseen": 6.0}, 2),
        ({"num_stale": 1}, 1),
        ({"steps_after_cancel": (2,)}, 1),
        ({"num_refused": 20}, 1),
    ],
)
def test_each_can_be_missed(changed: dict[str, object], num_missed: int) -> None:
    """Those that compare are judged of each model."""
    assert sum(not target.is_met for target in targets(outcomes(**changed))) == num_missed


def test_an_agent_may_cost_three_tenths() -> None:
    """Of a reply."""
    found = outcomes()
    for condition, of in found.items():
        if condition.load == "reads":
            of["ours"] = replace(GOOD, reply_ms=(200.0,))
    missed = [target.text for target in targets(found) if not target.is_met]
    assert missed == ["p95 of a reply while the agent reads ≤ 1.3 × idle"]


def test_silence_wins_nothing() -> None:
    """No reply has no time."""
    assert not all(target.is_met for target in targets(outcomes(reply_ms=(), num_useful=0)))


def test_a_condition_says_what_is_special() -> None:
    """For the heading of its table."""
    assert str(Condition("sure", 60.0, is_hybrid=False)) == "sure, 60 ms a key, agent idle, attention only"
