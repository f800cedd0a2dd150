"""`stats`: what became of completions, counted on this machine, and how fast they are now."""

import datetime
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import click

from qcn_agent import paths
from qcn_agent.daemon import client

_ENDS = ("accepted", "accepted_in_parts", "accepted_partly", "typed", "refused", "passed_by")


@click.command("stats")
@click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True, help="So far back.")
@click.option("--json", "as_json", is_flag=True, help="Numbers by language and event, and the daemon's own.")
def command(days: int, as_json: bool) -> int:
    """Show what became of completions: shown, accepted, kept. Counted here, never sent, without any source text."""
    from qcn_agent.completion.tally import Tally

    since = (datetime.date.today() - datetime.timedelta(days=days - 1)).isoformat()
    counts: dict[str, dict[str, float]] = defaultdict(dict)
    for row in Tally(paths.state_dir() / "completions.db").rows(since):
        counts[row.language][row.event] = row.amount
    live = _live()
    if as_json:
        click.echo(json.dumps({"since": since, "languages": counts, "completions": live}, indent=2))
        return 0
    if not counts:
        click.echo(f"no completions were shown since {since}")
    for language in sorted(counts, key=lambda name: -counts[name].get("shown", 0)):
        click.echo(f"{language}: {'; '.join(lines_of(counts[language]))}")
    for folder, status in live.get("folders", {}).items():
        click.echo(f"{folder}: {live_line(status)}")
    return 0


def lines_of(events: Mapping[str, float]) -> Sequence[str]:
    """One language's counts as phrases."""
    shown = events.get("shown", 0)
    ends = [f"{name.replace('_', ' ')} {share(events[name], shown)}" for name in _ENDS if events.get(name)]
    kept = [
        f"kept after {after} s {events[f'kept_{after}s'] / events[f'probed_{after}s']:.0%}"
        for after in (30, 120, 600)
        if events.get(f"probed_{after}s")
    ]
    return [f"{shown:,.0f} shown", *ends, *kept]


def share(count: float, whole: float) -> str:
    """A count with its share."""
    return f"{count:,.0f} ({count / whole:.0%})" if whole else f"{count:,.0f}"


def live_line(status: Mapping[str, Any]) -> str:
    """How the running daemon's completions of a folder do."""
    reply = status["reply_ms"]
    return (
        f"reply p50 {reply['p50']:.0f} ms, p95 {reply['p95']:.0f} ms; budget kept {status['budget_kept']:.0%}; "
        f"{status['evaluated_tokens_per_key']:.1f} tokens read a key; {status['hit_rate']:.0%} without the model"
    )


def _live() -> dict[str, Any]:
    """What the daemon says of its completions; nothing where none runs."""
    connection = client.connect_if_ready()
    if connection is None:
        return {}
    with connection:
        found: dict[str, Any] = connection.request("qcn/status", {}).get("completions", {})
        return found
