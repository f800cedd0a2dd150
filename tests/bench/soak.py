"""Hours of mixed load in minutes: `make soak`, or `python -m tests.bench.soak --minutes 5 --requests 500`.

Clients ask, retry, branch, type, cancel, die and forget, on a random float32 hybrid with small budgets. Nothing may
grow, no book may be out of balance, and a sample of the greedy answers is compared with those of a cold engine.
"""

import argparse
import asyncio
import collections
import logging
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from qcn_agent.config import ModelConfig, SchedulerConfig
from qcn_agent.daemon.services import resident_bytes
from qcn_agent.engine.engine import Engine
from tests.bench.report import Target, conclude, progress, table
from tests.bench.soak_clients import Answered, Crowd
from tests.bench.soak_replay import OtherCalls, Replay
from tests.random_models import write_hybrid

CONFIG = ModelConfig(
    n_ctx=4096, n_ubatch=128, n_threads=1, max_states=8, host_cache_mb=4, disk_cache_mb=8, flash_attention=False
)
SCHEDULING = SchedulerConfig(abort_ms=2.0)  # so that completions cut calls short even here
ROUND = 40  # requests between two rests
NUM_CLIENTS = 6
WARM_UP = 0.4  # of the run: until then caches and allocators fill
MAX_GROWTH = 0.02  # of resident memory over the rest of the run
MIN_GROWTH_BYTES = 4 << 20  # less is noise of the allocator
REST_S = 5.0


@dataclass(frozen=True)
class Sample:
    """How things are after a round, while nobody asks."""

    seconds: float
    num_requests: int
    resident_bytes: int
    device_states: int
    host_bytes: int
    host_states: int
    disk_bytes: int
    num_files: int
    is_idle: bool


class Failures(logging.Handler):
    """Keeps what the engine logs as an error: a book out of balance above all.

    llama.cpp's own lines don't count: to it an aborted call is an error. A call that fails ends its request with one.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep."""
        if record.name != "qcn_agent.engine.llama":
            self.found.append(self.format(record))


async def rest(engine: Engine) -> bool:
    """Wait until nothing is left to do; the engine looks at its books then. False: it did not come to rest."""
    end = time.monotonic() + REST_S
    while time.monotonic() < end:
        status = engine.status()
        if not status.queue_length and not status.pending_spill_bytes:
            return True
        await asyncio.sleep(0.02)
    return False


def look(engine: Engine, crowd: Crowd, begin: float, home: Path, *, is_idle: bool) -> Sample:
    """Take a sample."""
    status = engine.status()
    return Sample(
        seconds=round(time.monotonic() - begin, 1),
        num_requests=crowd.num_requests,
        resident_bytes=resident_bytes(),
        device_states=status.num_device_states,
        host_bytes=status.host_cache_bytes,
        host_states=status.num_host_states,
        disk_bytes=status.num_disk_bytes,
        num_files=sum(path.is_file() for path in home.rglob("*")),
        is_idle=is_idle,
    )


async def run(
    engine: Engine, crowd: Crowd, replay: Replay, args: argparse.Namespace, home: Path
) -> tuple[list[Sample], list[Answered]]:
    """Rounds of requests, each followed by a rest and a few comparisons, until time and number are reached."""
    begin, samples, checked = time.monotonic(), list[Sample](), list[Answered]()
    while time.monotonic() - begin < 60 * args.minutes or crowd.num_requests < args.requests:
        await crowd.round(ROUND, NUM_CLIENTS)
        is_idle = await rest(engine)
        samples.append(look(engine, crowd, begin, home, is_idle=is_idle))
        for answered in crowd.sample(args.compared):
            await replay.check(answered)
            checked.append(answered)
        if len(samples) % 20 == 1:
            progress(shown([samples[-1]]).splitlines()[-1])
    return samples, checked


def growth(samples: list[Sample]) -> tuple[float, float]:
    """(Mean bytes of resident memory after the warm-up, growth until the end by a straight line through them)."""
    late = [sample for sample in samples if sample.seconds >= WARM_UP * samples[-1].seconds]
    times = np.array([sample.seconds for sample in late])
    sizes = np.array([sample.resident_bytes for sample in late], np.float64)
    if len(late) < 3:
        return float(sizes.mean()), float("inf")
    slope = float(np.polyfit(times, sizes, 1)[0])
    return float(sizes.mean()), slope * float(times[-1] - times[0])


def shown(samples: list[Sample]) -> str:
    """About twenty of them."""
    picked = samples[:: max(1, len(samples) // 20)]
    rows = [
        [
            f"{s.seconds:.0f} s",
            s.num_requests,
            f"{s.resident_bytes / (1 << 20):.1f}",
            s.device_states,
            f"{s.host_states} {s.host_bytes / (1 << 20):.2f}",
            f"{s.num_files} {s.disk_bytes / (1 << 20):.2f}",
        ]
        for s in picked
    ]
    return table(["time", "requests", "RSS MiB", "device states", "host states, MiB", "disk files, MiB"], rows)


def judge(samples: list[Sample], crowd: Crowd, replay: Replay, failures: Failures) -> list[Target]:
    """What must hold."""
    mean, grown = growth(samples)
    allowed = max(MIN_GROWTH_BYTES, MAX_GROWTH * mean)
    device, host = max(s.device_states for s in samples), max(s.host_bytes for s in samples)
    disk, busy = max(s.disk_bytes for s in samples), sum(not s.is_idle for s in samples)
    wrong = f"{len(replay.wrong)} of {replay.num_compared} answers, {replay.num_tokens} tokens; "
    ties = f"{replay.num_ties} ties, the widest {replay.widest_tie:.1e}"
    errors = collections.Counter(crowd.errors)
    return [
        Target(
            f"RSS after {WARM_UP:.0%} of the time grows by ≤ {MAX_GROWTH:.0%} or {MIN_GROWTH_BYTES >> 20} MiB",
            f"{grown / (1 << 20):+.2f} MiB of {mean / (1 << 20):.0f}",
            grown <= allowed,
        ),
        Target(f"device states ≤ {CONFIG.max_states}", str(device), device <= CONFIG.max_states),
        Target(f"host copies ≤ {CONFIG.host_cache_mb} MiB", f"{host / (1 << 20):.2f}", host <= 4 << 20),
        Target(f"disk ≤ {CONFIG.disk_cache_mb} MiB", f"{disk / (1 << 20):.2f}", disk <= 8 << 20),
        Target(f"at rest within {REST_S:.0f} s of each round", f"{busy} times not", not busy),
        Target("no integrity failure", f"{failures.found[:1] or 'none'}", not failures.found),
        Target("no request fails", f"{dict(errors) or 'none'}", not errors),
        Target("no wrong token", wrong + ties, not replay.wrong and replay.num_compared > 0),
    ]


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="at least")
    parser.add_argument("--requests", type=int, default=10_000, help="at least")
    parser.add_argument("--compared", type=int, default=3, help="answers compared after each round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(argv)


def main() -> None:
    """Run, print, judge."""
    args = parse(sys.argv[1:])
    failures = Failures()
    logging.getLogger("qcn_agent").addHandler(failures)
    with tempfile.TemporaryDirectory(prefix="qcn-soak-") as folder:
        os.environ["QCN_AGENT_HOME"] = folder
        path = Path(folder, "hybrid.gguf")
        write_hybrid(path)
        engine = Engine.load(CONFIG, path, scheduling=SCHEDULING)
        cold = Engine.load(replace(CONFIG, host_cache_mb=0, disk_cache_mb=0), path)
        others = OtherCalls(path, CONFIG)
        crowd, replay = Crowd(engine, args.seed), Replay(cold, others)
        samples, _ = asyncio.run(run(engine, crowd, replay, args, Path(folder, "cache", "kv")))
        status = engine.status()
        engine.close()
        cold.close()
        others.close()
    print(shown(samples) + "\n")
    for wrong in replay.wrong:
        print(f"wrong: {wrong}")
    print(f"{crowd.num_requests} requests: {dict(crowd.done)}; seed {args.seed}")
    print(
        f"evaluated {status.num_evaluated_tokens}, reused {status.num_reused_tokens}, from host "
        f"{status.num_restored_host_tokens}, from disk {status.num_restored_disk_tokens}; aborted "
        f"{status.num_aborted_steps}, suspended {status.num_suspended}, superseded {status.num_superseded}\n"
    )
    results = {"samples": [asdict(sample) for sample in samples], "done": dict(crowd.done)}
    conclude(judge(samples, crowd, replay, failures), results, args.json)


if __name__ == "__main__":
    main()
