"""`make bench-lsp`: keys typed through a real shim and daemon, alone and while the agent works beside.

usage: python -m tests.bench.lsp_bench [--lines N] [--pace MS] [--json FILE]

Lines of our own source are typed into their files, with a pause after some words, as people do. Rounds with and without
the agent take turns in one run; the agent is `qcn-agent fix --dry-run` on the demo's project, again and again. A reply
counts from its key; what a later key cancelled does not count. A reply is useful when it begins with what is left of
the word, or with the next one. The gate of confidence is open: what is measured is time, not the embedded model.
"""

import argparse
import os
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.bench.report import Target, conclude, progress, table
from tests.bench.stats import quantile
from tests.bench.typing_traces import pick
from tests.bench.typist import QCN, Key, Typist

DEMO = Path(__file__).parents[1] / "demo" / "project"
ISSUE = "Bookings that touch, like 1-4 and 4-5, are not merged. Fix merge_intervals in bookings.py"
LIMIT, HIT_MS = 1.3, 15.0
MIN_HITS = 20


class Agent:
    """Works while it is let."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._command = [QCN, "fix", ISSUE, "--workspace", str(folder), "--dry-run"]
        self._env = {**os.environ, "QCN_AGENT_HOME": str(home)}
        self._may_work, self._ends = threading.Event(), False
        self.num_runs = 0
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    @contextmanager
    def working(self) -> Iterator[None]:
        """For as long as the block lasts, and to the end of its last run."""
        self._may_work.set()
        yield
        self._may_work.clear()

    def close(self) -> None:
        """No more of it."""
        self._ends = True
        self._may_work.set()
        self._thread.join()

    def _work(self) -> None:
        while self._may_work.wait() and not self._ends:
            subprocess.run(self._command, env=self._env, capture_output=True, check=False)
            self.num_runs += 1


def times_of(keys: Sequence[Key]) -> list[float]:
    """Of replies that show something."""
    return [key.reply_ms for key in keys if key.reply_ms is not None and key.text]


def row(name: str, keys: Sequence[Key], counters: dict[str, float]) -> list[str]:
    """One condition."""
    times = times_of(keys)
    shown, useful = sum(bool(key.text) for key in keys), sum(key.is_useful for key in keys)
    tokens, starts = counters.get("evaluated_tokens", 0), counters.get("engine_starts", 0)
    return [
        name,
        str(len(keys)),
        f"{shown} / {useful}",
        f"{quantile(times, 0.5):.0f} / {quantile(times, 0.95):.0f} / {quantile(times, 0.99):.0f}",
        f"{tokens / len(keys):.1f}",
        f"{starts / len(keys):.2f}",
    ]


def added(counters: dict[str, float], before: dict[str, float], after: dict[str, float]) -> None:
    """Count what came between."""
    for name, value in after.items():
        counters[name] = counters.get(name, 0) + value - before.get(name, 0)


def targets_of(keys: dict[str, list[Key]]) -> list[Target]:
    """What must hold."""
    idle, busy = (quantile(times_of(keys[name]), 0.95) for name in ("idle", "agent"))
    hits = [time for name in keys for time in times_of(keys[name]) if time <= 2 * HIT_MS]
    text = f"{busy:.0f} / {idle:.0f} ms = {busy / idle if idle else 0:.2f}"
    met = 0 < busy <= LIMIT * idle
    found = [Target(f"p95 of a reply while the agent works ≤ {LIMIT} × idle", text, met)]
    if len(hits) >= MIN_HITS:
        value = quantile(hits, 0.95)
        found.append(Target(f"p95 of a reply without the model ≤ {HIT_MS:.0f} ms", f"{value:.1f} ms", value <= HIT_MS))
    return found


def main() -> None:
    """Type, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=12, help="in each of the two conditions")
    parser.add_argument("--pace", type=float, default=120.0, help="milliseconds a key")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    keys: dict[str, list[Key]] = {"idle": [], "agent": []}
    counters: dict[str, dict[str, float]] = {"idle": {}, "agent": {}}
    with tempfile.TemporaryDirectory(prefix="qcn-typing-") as place:
        home, folder, demo = Path(place, "home"), Path(place, "workspace"), Path(place, "demo")
        folder.mkdir()
        shutil.copytree(DEMO, demo)
        typist = Typist(folder, home, QCN_COMPLETION_MIN_LOGPROB="-100")
        typist.wait_for_model()
        agent = Agent(demo, home)
        order = random.Random(options.seed)
        for number in range(options.lines + 1):  # the first line warms up
            for name in order.sample(["idle", "agent"], 2):
                before = typist.counters()
                if name == "agent":
                    with agent.working():
                        typed = typist.type_line(pick(options.seed + number), f"a{number}.py", options.pace / 1e3)
                else:
                    typed = typist.type_line(pick(options.seed + number), f"i{number}.py", options.pace / 1e3)
                if number:
                    keys[name] += typed
                    added(counters[name], before, typist.counters())
            progress(f"line {number} of {options.lines}")
        agent.close()
        typist.close()
    header = ["", "keys", "shown / useful", "reply ms p50 / p95 / p99", "tokens read a key", "engine starts a key"]
    print(table(header, [row(name, keys[name], counters[name]) for name in keys]))
    print(f"\n{options.pace:.0f} ms a key; {agent.num_runs} runs of the agent")
    for name, found in counters.items():
        reasons = {reason: f"{count:.0f}" for reason, count in sorted(found.items()) if reason.startswith("no ")}
        print(f"nothing shown, {name}: {', '.join(f'{count} {reason}' for reason, count in reasons.items())}")
    print()
    results = {"keys": {name: [asdict(key) for key in found] for name, found in keys.items()}, "counters": counters}
    conclude(targets_of(keys), results, options.json)


if __name__ == "__main__":
    main()
