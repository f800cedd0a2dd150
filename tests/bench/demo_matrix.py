"""The demo's bug over seeds, threads and builds of llama.cpp: `python tests/bench/demo_matrix.py`.

A build is an environment that has the dependencies, one of them its own llama-cpp-python:
    --build native=.venv/bin/python --build portable=.venv-portable/bin/python
Each runs in a process of its own, with that interpreter and these sources.
"""

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcn_agent.config import FixConfig
from qcn_agent.models.embedded import embedded_model_path
from tests.bench.report import Target, conclude, progress, table
from tests.bench.runs import TARGET_RATIO, RunRecord, Workbench, private_home
from tests.bench.stats import Share
from tests.demo.run_demo import HERE, ISSUE

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT, ROOT / "lsp", ROOT / "tools", ROOT / "prompts")
MIN_RUNS, MIN_BUILDS = 60, 2


@dataclass(frozen=True)
class Cell:
    """One run of the demo."""

    build: str
    num_threads: int
    seed: int
    run: RunRecord


def run_here(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The worker: all threads and seeds with this interpreter's llama.cpp. First what it is, then a record a run."""
    with private_home():
        for index, num_threads in enumerate(args.threads):
            bench = Workbench(args.model, num_threads)
            if not index:
                yield bench.describe()
            for seed in range(args.seeds):
                yield {"num_threads": num_threads, "seed": seed, "run": run_demo(bench, seed).to_json()}
            bench.close()


def run_demo(bench: Workbench, seed: int) -> RunRecord:
    """One fix of a fresh copy of the demo's project."""
    with tempfile.TemporaryDirectory(prefix="qcn-demo-") as folder:
        project = Path(folder, "bookings")
        shutil.copytree(HERE / "project", project, ignore=shutil.ignore_patterns("__pycache__"))
        return bench.fix(project, ISSUE, FixConfig(), seed)


def run_build(name: str, python: str, args: argparse.Namespace) -> tuple[dict[str, str], list[Cell]]:
    """Run the worker with `python`; when it fails, the benchmark ends."""
    threads = ["--threads", *map(str, args.threads)]
    command = [python, __file__, "--worker", "--seeds", str(args.seeds), *threads, "--model", str(args.model)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCES))}
    cells: list[Cell] = []
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as worker:
        lines = map(json.loads, worker.stdout or ())
        about: dict[str, str] = next(lines, {})
        for line in lines:
            cell = Cell(name, line["num_threads"], line["seed"], RunRecord(**line["run"]))
            progress(f"{name}, {cell.num_threads} threads, seed {cell.seed}: {cell.run.ending}")
            cells.append(cell)
    if worker.returncode:
        sys.exit(f"build {name}: the worker ended with exit code {worker.returncode}")
    return about, cells


def table_of(cells: list[Cell]) -> str:
    """One row for each build and number of threads; `ratio` is the worst of tokens evaluated to tokens needed."""
    header = ["build", "threads", "fixed", "runs", "attempts", "patches tested", "s, median", "s, worst", "ratio"]
    return table(header, [_row(key, cells) for key in dict.fromkeys((c.build, c.num_threads) for c in cells)])


def _row(key: tuple[str, int], cells: list[Cell]) -> list[object]:
    runs = [cell.run for cell in cells if (cell.build, cell.num_threads) == key]
    seconds = [run.elapsed_s for run in runs]
    spread = [_spread(run.num_attempts for run in runs), _spread(run.num_patches for run in runs)]
    ratio = max(run.evaluated_ratio for run in runs)
    times = [f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"]
    return [*key, sum(run.fixed for run in runs), len(runs), *spread, *times, f"{ratio:.4f}"]


def _spread(counts: Iterator[int]) -> str:
    """How often each number occurs: "1 ×9, 2 ×1"."""
    return ", ".join(f"{count} ×{times}" for count, times in sorted(Counter(counts).items()))


def judge(cells: list[Cell]) -> list[Target]:
    """The targets."""
    fixed = Share(sum(cell.run.fixed for cell in cells), len(cells))
    num_builds = len({cell.build for cell in cells})
    worst = max(cell.run.evaluated_ratio for cell in cells)
    size = f"{len(cells)} runs, {num_builds} builds"
    return [
        Target(
            f"at least {MIN_RUNS} runs on at least {MIN_BUILDS} builds",
            size,
            len(cells) >= MIN_RUNS and num_builds >= MIN_BUILDS,
        ),
        Target("the demo's bug is fixed in every run", f"{fixed} of {len(cells)}", fixed.num_hits == len(cells)),
        Target(f"tokens evaluated ≤ {TARGET_RATIO} × those needed", f"worst {worst:.4f}", worst <= TARGET_RATIO),
    ]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", action="append", metavar="NAME=PYTHON", help="default: native, this interpreter")
    parser.add_argument("--seeds", type=int, default=10, help="so many, from 0")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--model", type=Path, default=embedded_model_path())
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run all builds, print, judge; or be the worker of one."""
    args = parse_arguments()
    args.model = args.model.resolve()
    if args.worker:
        for line in run_here(args):
            print(json.dumps(line), flush=True)
        return
    abouts: dict[str, dict[str, str]] = {}
    cells: list[Cell] = []
    for build in args.build or [f"native={sys.executable}"]:
        name, _, python = build.partition("=")
        abouts[name], found = run_build(name, python, args)
        cells += found
    head = "\n".join(f"{name}: {about['model']}, {about['system']}" for name, about in abouts.items())
    text = f"{head}\n\n{table_of(cells)}\n"
    print(text)
    if args.markdown:
        args.markdown.write_text(text, encoding="utf-8")
    conclude(judge(cells), {"builds": abouts, "runs": [dataclasses.asdict(cell) for cell in cells]}, args.json)


if __name__ == "__main__":
    main()
