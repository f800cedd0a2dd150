"""Start-up times of the command line: `python tests/bench/cli_start.py`.

Rounds are interleaved: a bare interpreter (the floor), `--help`, and `status` with a daemon that has a model loaded.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.report import Target, conclude, progress, table
from tests.bench.stats import Median

COMMAND = str(Path(sys.executable).with_name("qcn-agent"))
ARMS: Mapping[str, Sequence[str]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "qcn-agent --help": (COMMAND, "--help"),
    "qcn-agent status": (COMMAND, "status"),
}
TARGETS_MS = {"qcn-agent --help": 150.0, "qcn-agent status": 250.0}
MIN_ROUNDS = 31


def time_ms(command: Sequence[str], env: Mapping[str, str]) -> float:
    """Milliseconds from start to exit. Raises CalledProcessError when the command fails."""
    begin = time.perf_counter()
    subprocess.run(command, env=dict(env), check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1e3


def measure(num_rounds: int, env: Mapping[str, str]) -> dict[str, list[float]]:
    """Milliseconds of each arm, after one round that warms the caches up."""
    samples: dict[str, list[float]] = {name: [] for name in ARMS}
    for number in range(num_rounds + 1):
        progress(f"round {number} of {num_rounds}")
        for name, command in ARMS.items():
            elapsed_ms = time_ms(command, env)
            if number:
                samples[name].append(elapsed_ms)
    return samples


def measure_with_daemon(num_rounds: int, model: Path | None) -> dict[str, list[float]]:
    """The same beside a daemon of our own, which is stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="qcn-cli-") as folder:
        env = {**os.environ, "QCN_AGENT_HOME": folder}
        serve = [COMMAND, "serve", *(["--model", str(model)] if model else [])]
        try:
            if code := subprocess.run(serve, env=env, stdout=subprocess.DEVNULL).returncode:
                sys.exit(f"the daemon did not load the model: exit code {code}")
            return measure(num_rounds, env)
        finally:
            subprocess.run([COMMAND, "stop"], env=env, check=True, stdout=subprocess.DEVNULL)


def judge(medians: Mapping[str, Median]) -> list[Target]:
    """The targets."""
    return [
        Target(f"{name} ≤ {limit:.0f} ms", f"{medians[name].value:.0f} ms", medians[name].value <= limit)
        for name, limit in TARGETS_MS.items()
    ]


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.rounds < MIN_ROUNDS:
        parser.error(f"at least {MIN_ROUNDS} rounds")
    load = os.getloadavg()[0]
    samples = measure_with_daemon(args.rounds, args.model)
    medians = {name: Median.of(times) for name, times in samples.items()}
    rows = [[name, f"{m.value:.0f}", f"{m.low:.0f} .. {m.high:.0f}"] for name, m in medians.items()]
    print(f"{args.rounds} rounds, {os.cpu_count()} cores, load {load:.1f} before the start\n")
    print(table(["command", "median, ms", "95% interval"], rows) + "\n")
    conclude(judge(medians), {"load": load, "samples_ms": samples}, args.json)


if __name__ == "__main__":
    main()
