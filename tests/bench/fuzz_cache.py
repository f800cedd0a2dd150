"""Random operations on the prefix cache, beside an oracle: `python tests/bench/fuzz_cache.py --operations 10000`."""

import argparse
import tempfile
import time
from pathlib import Path

from tests import random_models
from tests.engine.walk import walk

SIZES = ((4, 0), (4, 2048), (6, 4096), (12, 1024), (16, 65536))  # device states, KiB of host memory


def main() -> None:
    """Walk with several sizes of cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "hybrid.gguf")
        random_models.write_hybrid(path)
        for number, (num_states, host_kib) in enumerate(SIZES):
            started = time.perf_counter()
            seed = args.seed * 1000 + number
            tally = walk(path, args.operations // len(SIZES), seed, num_states=num_states, host_kib=host_kib)
            seconds = time.perf_counter() - started
            print(f"{num_states} states, {host_kib} KiB host, seed {seed}: {seconds:.0f} s, {dict(tally.operations)}")
            print(
                f"  compared {tally.num_compared}, bitwise {tally.num_bitwise}, near ties {tally.num_near_ties}, "
                f"worst {tally.worst:.2e} sd; evaluated {tally.num_evaluated}, reused {tally.num_reused}"
            )


if __name__ == "__main__":
    main()
