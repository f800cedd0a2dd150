"""Our engine and a llama-server on the same model and the same token traces: `make bench-engine`.

The peer comes from the wheel `xllamacpp`, as it starts and well tuned. Without `--model` a random qwen3next is made.
"""

import argparse
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from qcn_agent.benchmark import peer
from qcn_agent.benchmark.held import HOST_BYTES, MAX_DEVICE_STATES, Held, Setup
from tests.bench import busy, counted, restart, steps
from tests.bench.contest import OURS, PEER, TUNED_PEER, Contest, Part, Row
from tests.bench.engine_setup import host_budget_mb
from tests.bench.report import Target, conclude, progress, table
from tests.random_models import write_hybrid

N_CTX = 65_536
PARTS: Mapping[str, Callable[[Contest], Part]] = {
    **{name: functools.partial(counted.run, name) for name in counted.LIMITS},
    "restart": restart.run_restart,
    "crash": restart.run_crash,
    "busy": busy.run_busy,
    "interference": busy.run_interference,
    "decode-loop": steps.run_decode_loop,
    "worker-load": steps.run_worker_load,
    "match": steps.run_match,
}
SIDES = (OURS, PEER, TUNED_PEER)


def shown_memory(row: Row) -> str:
    """Each side's states (device + host) and host memory at the 80B model's geometry."""
    cells = []
    for side in SIDES:
        if side in row.memory:
            held = row.memory[side].held
            cells.append(f"{held.device_states}+{held.host_states} {held.host_bytes / (1 << 30):.1f}G")
        elif side in row.cells:
            cells.append("–")
    return " / ".join(cells)


def shown(rows: Sequence[Row]) -> str:
    """The table."""
    header = ["trace", "measure", *SIDES, "states, host memory"]
    cells = [[row.trace, row.measure, *(row.cells.get(side, "–") for side in SIDES), shown_memory(row)] for row in rows]
    return table(header, cells)


def limits(rows: Sequence[Row]) -> Target:
    """Whether our side kept to what it may hold, over all parts."""
    most = Held()
    for row in rows:
        if OURS in row.memory:
            most = most.most(row.memory[OURS].held)
    text = f"{most.device_states} states, {most.host_bytes / (1 << 30):.2f} GiB"
    what = f"held by ours ≤ {MAX_DEVICE_STATES} device states, ≤ {HOST_BYTES >> 30} GiB of host memory"
    return Target(what, text, most.is_allowed)


def run_parts(names: Sequence[str], contest: Contest) -> dict[str, Part]:
    """One after another. A part that fails is a target that is missed; the others go on."""
    found = {}
    for name in names:
        try:
            found[name] = PARTS[name](contest)
        except (RuntimeError, OSError, TimeoutError) as error:
            progress(f"{name}: {error}")
            found[name] = Part([], [Target(f"{name}: runs to its end", str(error).splitlines()[0][:200], False)])
    return found


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a GGUF; default: a random small qwen3next, made now")
    parser.add_argument("--traces", default=",".join(PARTS), help="of " + ",".join(PARTS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="of each side")
    parser.add_argument("--quick", action="store_true", help="fewer samples, shorter sessions")
    parser.add_argument("--no-peer", action="store_true", help="our engine alone")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON", help="interpreter with xllamacpp")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    args.traces = [name for name in args.traces.split(",") if name]
    if unknown := [name for name in args.traces if name not in PARTS]:
        parser.error(f"unknown traces: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    if not args.no_peer and not peer.is_installed(args.peer_python):
        parser.error(f"{args.peer_python} has no llama-server. Install it: {peer.INSTALL}, or use --no-peer")
    return args


def main() -> None:
    """Measure, print, judge."""
    args = parse(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="qcn-bench-") as folder:
        path = args.model or Path(folder) / "random-qwen3next.gguf"
        if args.model is None:
            write_hybrid(path)
        setup = Setup(path.absolute(), N_CTX, args.threads)
        python = None if args.no_peer else args.peer_python
        contest = Contest(setup, args.seed, args.quick, Path(folder), python)
        load = os.getloadavg()[0]
        parts = run_parts(args.traces, contest)
        budget = host_budget_mb(setup)
    rows = [row for part in parts.values() for row in part.rows]
    print(f"model {path.name}, {N_CTX} tokens, {args.threads} threads, seed {args.seed}, load {load:.1f} at the start")
    print(f"host memory of ours: {budget} MiB of this model are at most 4 GiB of the 80B one\n")
    print(shown(rows) + "\n")
    results = {
        "model": path.name,
        "seed": args.seed,
        "memory": [[row.trace, row.measure, {side: asdict(one) for side, one in row.memory.items()}] for row in rows],
        "parts": {name: part.numbers for name, part in parts.items()},
    }
    conclude([*(target for part in parts.values() for target in part.targets), limits(rows)], results, args.json)


if __name__ == "__main__":
    main()
