"""`make bench-index`: the index on sympy and on a tree of 90,000 files.

usage: python -m tests.bench.index_bench [--sympy FOLDER] [--files N] [--aider-python PATH] [--no-engine] [--json FILE]

Without --sympy its source distribution comes from PyPI; --files 0 leaves the large tree out. Parsing and tag queries
alone run in as many processes, one a core, as the build has workers; both are wall times of the same run, and only
files with a grammar count. A query is a whole ranking, as `locate` makes it, of a text that was not asked for before.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qcn_agent.context.ranking import rank
from qcn_agent.index.index import Index
from tests.bench.index_step import step_ratio
from tests.bench.index_tree import Vocabulary, write_synthetic_tree
from tests.bench.localise_aider import NOT_MEASURED, Aider
from tests.bench.report import Target, conclude, progress, table
from tests.bench.stats import quantile

SYMPY = "sympy==1.13.3"
NUM_FILES = 90_000
NUM_QUERIES = 60
NUM_ASKED_AIDER = 3
NUM_WORKERS = os.cpu_count() or 1
NUM_SAVES = 30
BARE = Path(__file__).with_name("index_bare.py")
STEP_LIMIT = 1.1
ISSUES = (
    "trigsimp fails on a product of hyperbolic functions",
    "lambdify with numpy prints a Matrix wrongly",
    "TypeError: unsupported operand in Piecewise.as_expr_set_pairs",
    "solveset returns an empty set for a periodic equation",
    "latex printer drops parentheses around negative exponents",
    "Integral of Heaviside times DiracDelta is wrong",
)


def issues_of(index: Index, count: int) -> list[str]:
    """ISSUES, then as many others as are wanted: three functions of the workspace and what they say of themselves."""
    chance, made = random.Random(6), list(ISSUES)
    files = [file for file in index.files() if file.language == "python"]
    while len(made) < count:
        found = [one for one in index.definitions_of(chance.choice(files).file_id) if one.doc]
        made += [" and ".join(f"{one.name}: {one.doc}" for one in chance.sample(found, 3))] if len(found) > 2 else []
    return made[:count]


def fetched_sympy(folder: Path) -> Path:
    """The sources, unpacked below a folder."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        "sympy",
        "-d",
        str(folder),
        SYMPY,
    ]
    subprocess.run(command, check=True)
    with tarfile.open(next(folder.glob("sympy*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.glob("sympy-*") if path.is_dir())


def children_cpu_s() -> float:
    """Processor seconds of all processes that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bare_run(folder: Path) -> tuple[float, float, int]:
    """(wall seconds, processor seconds, files) of parsing and tag queries alone, in as many processes as the build."""
    cpu, started = children_cpu_s(), time.perf_counter()
    commands = [[sys.executable, str(BARE), str(folder), str(part), str(NUM_WORKERS)] for part in range(NUM_WORKERS)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    num_files = sum(int(process.communicate()[0]) for process in processes)
    return time.perf_counter() - started, children_cpu_s() - cpu, num_files


def peak_rss_mb(pid: int) -> float:
    """The largest resident size of a process so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def family_rss_mb(pid: int) -> float:
    """Of a process and its children now: the sum of the peaks."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return peak_rss_mb(pid) + sum(peak_rss_mb(int(child)) for child in children)


def cold_build(workspace: Path, folder: Path) -> dict[str, float]:
    """Times and sizes of a build from nothing, and of opening and checking it again."""
    cpu, started, rss = children_cpu_s(), time.perf_counter(), [0.0]
    index = Index.open(workspace, folder=folder, num_workers=NUM_WORKERS, watch=False)

    def report(done: int, total: int) -> None:
        pid = index._keeper.pid
        rss[0] = max(rss[0], family_rss_mb(pid) if pid else 0.0)
        if done == total or done % 10_000 < 500:
            progress(f"  {done} of {total} files, {time.perf_counter() - started:.0f} s")

    result = index.refresh(report)
    wall_s = time.perf_counter() - started
    index.close()
    source = sum(file.size for file in index.files())
    cpu_s, size = children_cpu_s() - cpu, index.status().database_bytes
    index.close()
    started = time.perf_counter()
    again = Index.open(workspace, folder=folder, watch=False)
    again.refresh()
    warm_s = time.perf_counter() - started
    again.close()
    return {
        "num_files": result.num_read,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "rss_mb": rss[0],
        "source_bytes": source,
        "database_bytes": size,
        "warm_s": warm_s,
    }


def timed(ask: Callable[[], object]) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - started)


def query_times_ms(index: Index, texts: Sequence[str]) -> list[float]:
    """Whole rankings; one before them opens the database."""
    rank(index, "the first of all")
    return [timed(lambda text=text: rank(index, text)) for text in texts]  # type: ignore[misc]


def save_times_ms(index: Index, paths: Sequence[Path]) -> list[float]:
    """From the end of a write to the first query that sees it; files are put back."""
    times = []
    for number, path in enumerate(paths):
        before, name = path.read_bytes(), f"bench_saved_{number}"
        path.write_bytes(before + f"\n\ndef {name}(): pass\n".encode())
        started = time.perf_counter()
        while not index.definitions_named(name) and time.perf_counter() - started < 5:
            time.sleep(0.001)
        times.append(1000 * (time.perf_counter() - started))
        path.write_bytes(before)
        while index.definitions_named(name) and time.perf_counter() - started < 10:
            time.sleep(0.001)
    return times


def watched(workspace: Path, folder: Path, texts: Sequence[str]) -> tuple[list[float], list[float]]:
    """(query times, save times) of a live index; `texts` or those of `issues_of`."""
    index = Index.open(workspace, folder=folder)
    index.refresh()
    queries = query_times_ms(index, texts or issues_of(index, NUM_QUERIES))
    chance = random.Random(4)
    python = [file for file in index.files() if file.language == "python" and 500 < file.size < 50_000]
    saves = save_times_ms(index, [workspace / file.path for file in chance.sample(python, NUM_SAVES)])
    index.close()
    return queries, saves


def aider_times_s(python: Path, workspace: Path, folder: Path) -> list[float]:
    """Of its repository map: the first, which reads all files, and some others."""
    aider = Aider(python, folder)
    times = [aider.ask(workspace, text).seconds for text in ISSUES[:NUM_ASKED_AIDER]]
    aider.close()
    return times


def measured(name: str, workspace: Path, folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """All figures of one workspace."""
    progress(f"{name}: cold build")
    build = cold_build(workspace, folder)
    progress(f"{name}: queries and saves")
    queries, saves = watched(workspace, folder, texts)
    return {
        **build,
        "query_p50_ms": quantile(queries, 0.5),
        "query_p95_ms": quantile(queries, 0.95),
        "save_p50_ms": quantile(saves, 0.5),
        "save_p95_ms": quantile(saves, 0.95),
    }


def of_rate(bare_s: float, bare_files: int, wall_s: float) -> list[Target]:
    """What issue 4 asks for of a cold build: files with a grammar only, as parsing alone has no others."""
    ratio, rate = bare_s / wall_s, bare_files / wall_s / NUM_WORKERS
    return [
        Target("sympy: cold build, rate over parse + tag query alone >= 0.6", f"{ratio:.3g}", ratio >= 0.6),
        Target("sympy: files a second and core >= 200", f"{rate:.3g}", rate >= 200),
    ]


def of_large(found: dict[str, Any]) -> list[Target]:
    """And of the large tree."""
    wall, warm, rss = found["wall_s"], found["warm_s"], found["rss_mb"]
    return [
        Target("90,000 files: cold build <= 360 s", f"{wall:.0f} s", wall <= 360),
        Target("90,000 files: open and freshness check <= 2 s", f"{warm:.2f} s", warm <= 2),
        Target("90,000 files: indexer and workers, resident <= 1536 MB", f"{rss:.0f} MB", rss <= 1536),
    ]


def of_any(name: str, found: dict[str, Any], query_limit_ms: float) -> list[Target]:
    """And of both."""
    share, query, save = found["database_bytes"] / found["source_bytes"], found["query_p95_ms"], found["save_p95_ms"]
    return [
        Target(f"{name}: database over source <= 0.6", f"{share:.3f}", share <= 0.6),
        Target(f"{name}: query p95 <= {query_limit_ms:.0f} ms", f"{query:.1f} ms", query <= query_limit_ms),
        Target(f"{name}: a saved file is visible, p95 <= 100 ms", f"{save:.0f} ms", save <= 100),
    ]


def of_step(workspace: Path) -> Target:
    """And of an engine beside a build."""
    progress("engine steps beside a build")
    ratio, num_builds = step_ratio(workspace)
    told = f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}], n={ratio.num_samples}, {num_builds} builds ended"
    return Target(f"engine step during a build over idle <= {STEP_LIMIT}", told, ratio.value <= STEP_LIMIT)


def main() -> None:
    """Measure both, print, conclude."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sympy", type=Path)
    parser.add_argument("--files", type=int, default=NUM_FILES)
    parser.add_argument("--aider-python", type=Path, help="the Python of an environment with aider-chat")
    parser.add_argument("--no-engine", action="store_true", help="don't measure engine steps beside a build")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sympy = options.sympy or fetched_sympy(folder)
        progress("sympy: parse and tag queries alone")
        bare_s, bare_cpu_s, bare_files = bare_run(sympy)
        small = measured("sympy", sympy, folder / "small", ())
        results = {"sympy": small}
        targets = [*of_rate(bare_s, bare_files, small["wall_s"]), *of_any("sympy", small, 50)]
        aider = aider_times_s(options.aider_python, sympy, folder) if options.aider_python else []
        targets += [] if options.no_engine else [of_step(sympy)]
        if options.files:
            progress(f"writing {options.files} files")
            vocabulary = Vocabulary.of_a_project(random.Random(1))
            write_synthetic_tree(folder / "large", options.files, vocabulary)
            texts = [vocabulary.sentence() for _ in range(NUM_QUERIES)]
            results["large"] = large = measured("large", folder / "large", folder / "large-db", texts)
            targets += [*of_large(large), *of_any(f"{options.files} files", large, 300)]
    rows = [[key, *(f"{found[key]:.4g}" for found in results.values())] for key in small]
    print(table(["", *results], rows))
    print(f"\nparse and tag queries alone, sympy: {bare_files} files, {bare_s:.1f} s, {bare_cpu_s:.1f} s of processors")
    seconds = ", ".join(f"{one:.1f} s" for one in aider)
    print(f"\naider's map of sympy, the first and then warm: {seconds or NOT_MEASURED}\n")
    conclude(targets, {**results, "aider_s": aider}, options.json)


if __name__ == "__main__":
    main()
