"""What a step of our engine costs: beside a bare loop, beside busy worker processes, with many sessions."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qcn_agent.benchmark.arms import Ask
from tests.bench.busy import rate
from tests.bench.contest import OURS, Contest, Part, Row, running
from tests.bench.ours import ROOT, OurArm
from tests.bench.report import Target, progress
from tests.bench.stats import Median

FOLDER = Path(__file__).parent
PROMPT = tuple(range(300, 500))
ROUND_TOKENS = 64
_OVERHEAD = re.compile(r"^overhead +(-?[\d.]+) us/token, 95% interval (-?[\d.]+) \.\. (-?[\d.]+)", re.MULTILINE)
DECODE_LIMIT_US, LOAD_LIMIT = 60.0, 1.1


def parse_overhead(report: str) -> tuple[float, float, float]:
    """(Microseconds a token, low, high) of the report of decode_loop.py. Raises RuntimeError when there is none."""
    found = _OVERHEAD.search(report)
    if found is None:
        raise RuntimeError(f"decode_loop.py says: {report[-500:]}")
    return float(found[1]), float(found[2]), float(found[3])


def run_decode_loop(contest: Contest) -> Part:
    """decode_loop.py on the same model."""
    progress("decode loop")
    argv = [sys.executable, str(FOLDER / "decode_loop.py"), str(contest.setup.path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    finished = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    value, low, high = parse_overhead(finished.stdout + finished.stderr)
    text = f"{value:.0f} [{low:.0f}, {high:.0f}] µs a token"
    target = Target(f"decode loop over a bare loop ≤ {DECODE_LIMIT_US:.0f} µs a token", text, value <= DECODE_LIMIT_US)
    return Part([Row("decode loop", "µs a token over a bare loop", {OURS: f"{value:.0f}"})], [target], finished.stdout)


class Workers:
    """Processes that index without end, as many as there are cores that the engine leaves free; stopped at first."""

    def __init__(self, count: int) -> None:
        argv = [sys.executable, str(FOLDER / "index_load.py"), sysconfig.get_paths()["stdlib"]]
        self._processes = [subprocess.Popen(argv) for _ in range(count)]
        self.pause()

    def pause(self) -> None:
        """Let them rest."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them work."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(number)


def step_ms(arm: OurArm) -> float:
    """Milliseconds a token of one short generation."""
    ask = Ask("steps", PROMPT, ROUND_TOKENS, (len(PROMPT),), wants_times=True)
    return 1e3 / rate(arm.submit(ask).result().times_ms)


def pairs_of(
    measure: Callable[[], float], workers: Workers, num_pairs: int, limit_s: float
) -> list[tuple[float, float]]:
    """(Alone, beside the workers), the order changing from pair to pair."""
    pairs: list[tuple[float, float]] = []
    begin = time.monotonic()
    while not pairs or (len(pairs) < num_pairs and time.monotonic() - begin < limit_s):
        found = {}
        for is_loaded in (True, False) if len(pairs) % 2 else (False, True):
            if is_loaded:
                workers.resume()
            found[is_loaded] = measure()
            workers.pause()
        pairs.append((found[False], found[True]))
    return pairs


def run_worker_load(contest: Contest) -> Part:
    """Step time with the indexer's processes at work."""
    progress("worker load")
    count = max(1, (os.cpu_count() or 1) - contest.setup.n_threads)
    arm, workers = contest.ours(), Workers(count)
    try:
        with running([arm]):
            step_ms(arm)
            pairs = pairs_of(lambda: step_ms(arm), workers, contest.num_samples, contest.limit_s)
            memory = {OURS: arm.memory()}
    finally:
        workers.close()
    ratio = Median.of([loaded / alone for alone, loaded in pairs])
    text = f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}], n={len(pairs)}, {count} processes"
    target = Target(f"step time during an index-like load ≤ {LOAD_LIMIT}", text, ratio.value <= LOAD_LIMIT)
    return Part([Row("worker load", "step time / idle", {OURS: f"{ratio.value:.3f}"}, memory)], [target], pairs)


def within(rows: Sequence[Mapping[str, float]]) -> bool:
    """Whether matching and scheduling keep to 100 µs + 1 ns a token."""
    return all(excess_us(row) <= 0 for row in rows)


def excess_us(row: Mapping[str, float]) -> float:
    """Microseconds beyond 100 µs + 1 ns a token."""
    return row["match"] - 100 - row["length"] / 1000


def run_match(contest: Contest) -> Part:
    """Matching and scheduling at many sessions, prompts of 1k to 32k tokens."""
    progress("match and schedule")
    lengths = [1024, 4096, 16_384] if contest.is_quick else [1024, 2048, 4096, 8192, 16_384, 32_768]
    size = {"num_sessions": 200, "num_nodes": 5_000 if contest.is_quick else 100_000}
    asked: dict[str, Any] = {**size, "lengths": lengths, "repeats": 10 if contest.is_quick else 50}
    argv = [sys.executable, "-m", "tests.bench.match_schedule", json.dumps(asked)]
    output = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=900)
    if output.returncode:
        raise RuntimeError(f"match_schedule.py: {output.stderr[-1000:]}")
    found = json.loads(output.stdout.splitlines()[-1])
    worst = max(found["rows"], key=excess_us)
    at = f"{found['num_sessions']} sessions, {found['num_nodes']:,} nodes, {worst['length']:,} tokens"
    parts = f"{worst['match']:.0f} µs before the call, {worst['first']:.0f} in all; {worst['later']:.0f} to decode"
    target = Target("match + schedule ≤ 100 µs + 1 ns a token, 200 sessions", f"{parts} ({at})", within(found["rows"]))
    cell = {OURS: f"{worst['match']:.0f}"}
    return Part([Row("match + schedule", f"µs of a step ({at})", cell)], [target], found)
