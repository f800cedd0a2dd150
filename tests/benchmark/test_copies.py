"""Costs of copies, from a trace."""

from pathlib import Path
from typing import Any

from qcn_agent.benchmark.arms import Ask
from qcn_agent.benchmark.copies import NAMES, Cost, costs
from qcn_agent.benchmark.local import LocalArm
from qcn_agent.engine import trace


def span(name: str, ms: float, tid: int = 0, source: str = "") -> dict[str, Any]:
    """An event."""
    return {"ph": "X", "name": name, "dur": 1e3 * ms, "tid": tid, "args": {"from": source}}


def test_medians_by_name_and_tier() -> None:
    """Tracks of requests, counters and restores of nothing are left out."""
    events = [
        {"ph": "C", "name": "snapshot", "args": {}},
        span("prefill", 9, tid=3),
        span("decode", 9),
        span("snapshot", 1),
        span("snapshot", 2),
        span("snapshot", 30),
        span("restore", 9, source="none"),
        span("restore", 4, source="host"),
        span("spill", 5),
    ]
    assert costs(events) == {"snapshot": Cost(3, 2.0), "restore from host": Cost(1, 4.0), "spill to host": Cost(1, 5.0)}


def test_a_real_trace_has_all_of_them(local: LocalArm, trace_file: Path) -> None:
    """Ten sessions over eight states, then two turns of the first: it comes back from the host, then it is there."""
    paths = [tuple(range(300 + 150 * number, 450 + 150 * number)) for number in range(10)]
    for number in (*range(10), 0, 0):
        answer = local.submit(Ask(f"s{number}", (*paths[number], 300), 3, (150,))).result(60)
        paths[number] = (*paths[number], 300, *answer.tokens)
    local.close()
    found = costs(trace.read(trace_file))
    assert set(found) == set(NAMES)
    assert all(cost.count > 0 and cost.median_ms > 0 for cost in found.values())
