"""What snapshots, restores and spills cost, read from a trace of the engine."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NAMES = ("snapshot", "restore from device", "restore from host", "spill to host")


@dataclass(frozen=True)
class Cost:
    """How often it happened, and the median of its times."""

    count: int
    median_ms: float


def costs(events: Iterable[Mapping[str, Any]]) -> dict[str, Cost]:
    """By name, of what happened at all."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for event in events:
        name = _name(event)
        if name in found:
            found[name].append(event["dur"] / 1e3)
    return {name: Cost(len(times), statistics.median(times)) for name, times in found.items() if times}


def _name(event: Mapping[str, Any]) -> str:
    if event.get("ph") != "X" or event["tid"] != 0:
        return ""
    name = str(event["name"])
    if name == "restore":
        return f"restore from {event['args']['from']}"
    return "spill to host" if name == "spill" else name
