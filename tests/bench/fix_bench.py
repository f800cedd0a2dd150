"""How many textbook bugs `fix` mends, beside a blind mutation search: `python tests/bench/fix_bench.py`.

Each bug of textbook_bugs.jsonl lies in a function that training never saw: of a template that it knows (set "known"),
or of one that is held out whole ("unknown"). Every run is a whole `fix` with the project's own pytest.
"""

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcn_agent.config import FixConfig
from qcn_agent.models.embedded import embedded_model_path
from qcn_agent.training import bench_set
from qcn_agent.training.bench_set import BenchItem
from tests.bench import blind
from tests.bench.bare_pytest import BarePytest
from tests.bench.report import Target, conclude, progress, table
from tests.bench.runs import TARGET_RATIO, RunRecord, Workbench, private_home
from tests.bench.stats import Share, only_one

BUGS = Path(__file__).with_name("textbook_bugs.jsonl")
SETS = ("known", "unknown")
MIN_BUGS = 200
TARGET_SHARE = 0.6  # of the known set
FEW_RUNS = 8  # of the blind search, beside as many as ours used


@dataclass(frozen=True)
class Result:
    """One bug: our run, and the number of test runs after which the blind search is green (None: never)."""

    item: BenchItem
    run: RunRecord
    blind_rank: int | None

    def blind_within(self, num_runs: int) -> bool:
        """Whether the blind search is green after at most `num_runs` test runs."""
        return self.blind_rank is not None and self.blind_rank <= num_runs

    @property
    def blind_same(self) -> bool:
        """Whether the blind search is green within as many test runs as ours used."""
        return self.blind_within(self.run.num_test_runs)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        about = {"id": self.item.id, "set": self.item.set, "template": self.item.template, "kind": self.item.kind}
        return {**about, **self.run.to_json(), "blind_rank": self.blind_rank}


Results = Sequence[Result]


def choose(items: Sequence[BenchItem], sets: Sequence[str], limit: int | None) -> list[BenchItem]:
    """The bugs of these sets; with a limit the first of each in turn, which are fair samples (see bench_set)."""
    if limit is None:
        return [item for item in items if item.set in sets]
    columns = [[item for item in items if item.set == name] for name in sets]
    rounds = itertools.zip_longest(*columns)
    return [item for row in rounds for item in row if item is not None][:limit]


def run_one(bench: Workbench, item: BenchItem, config: FixConfig, seed: int) -> Result:
    """Fix one bug in a folder of its own, and search for its repair blindly."""
    with tempfile.TemporaryDirectory(prefix="qcn-bug-") as folder:
        for path, text in item.files.items():
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        run = bench.fix(Path(folder), item.issue, config, seed)
    return Result(item, run, blind.search(item, seed))


def share(results: Results, hit: Callable[[Result], bool]) -> Share:
    """Of the results, those that `hit`."""
    return Share(sum(map(hit, results)), len(results))


def groups(results: Results, key: Callable[[Result], str]) -> dict[str, list[Result]]:
    """The results by `key`, sorted."""
    found: dict[str, list[Result]] = {}
    for result in sorted(results, key=key):
        found.setdefault(key(result), []).append(result)
    return found


def table_of_fixes(parts: dict[str, list[Result]], attempts: int) -> str:
    """Shares fixed, and the medians of what a run took."""
    shares = ["first attempt", "1 patch tested", f"≤ {attempts} attempts"]
    header = ["set", "bugs", *shares, "s", "tokens evaluated", "generated", "ended by a budget"]
    rows = []
    for name, part in parts.items():
        runs = [result.run for result in part]
        fixed = [run.at_first_attempt for run in runs], [run.fixed and run.num_patches == 1 for run in runs]
        cells = [str(Share(sum(hits), len(hits))) for hits in (*fixed, [run.fixed for run in runs])]
        seconds = statistics.median(run.elapsed_s for run in runs)
        evaluated = statistics.median(run.num_evaluated_tokens for run in runs)
        generated = statistics.median(run.num_generated_tokens for run in runs)
        costs = [f"{seconds:.1f}", f"{evaluated:.0f}", f"{generated:.0f}"]
        rows.append([name, len(part), *cells, *costs, sum(run.ending == "budget" for run in runs)])
    return table(header, rows)


def table_of_searches(parts: dict[str, list[Result]]) -> str:
    """Ours beside the blind search; `only ours` is about the bugs that exactly one of the two fixed."""
    header = [
        "set",
        "ours",
        "runs, mean",
        "blind, same runs",
        f"blind, {FEW_RUNS} runs",
        f"blind, {blind.MAX_RUNS} runs",
        "only ours",
    ]
    rows = []
    for name, part in parts.items():
        same, few = share(part, lambda r: r.blind_same), share(part, lambda r: r.blind_within(FEW_RUNS))
        runs = statistics.fmean(r.run.num_test_runs for r in part)
        ever = share(part, lambda r: r.blind_rank is not None)
        ours = share(part, lambda r: r.run.fixed)
        rows.append([name, ours, f"{runs:.1f}", same, few, ever, contest(part)])
    return table(header, rows)


def contest(results: Results) -> Share:
    """How often it was ours, of the bugs that only one of ours and the blind search (same runs) fixed."""
    return only_one([r.run.fixed for r in results], [r.blind_same for r in results])


def judge(parts: dict[str, list[Result]], results: Results) -> list[Target]:
    """The targets of what was run."""
    targets = [Target(f"at least {MIN_BUGS} bugs", str(len(results)), len(results) >= MIN_BUGS)]
    if "known" in parts:
        fixed = share(parts["known"], lambda r: r.run.fixed)
        targets.append(Target(f"known: at least {TARGET_SHARE:.0%} fixed", str(fixed), fixed.share >= TARGET_SHARE))
    for name, part in parts.items():
        won = contest(part)
        text = f"{name}: beats the blind search with as many test runs (interval above 50%)"
        targets.append(Target(text, f"only ours {won} of {won.num_trials}", won.interval[0] > 0.5))
    return [*targets, ratio_target([result.run for result in results])]


def ratio_target(runs: Sequence[RunRecord]) -> Target:
    """No token is evaluated twice."""
    ratios = [run.evaluated_ratio for run in runs]
    worst, median = max(ratios), statistics.median(ratios)
    text = f"tokens evaluated ≤ {TARGET_RATIO} × (each prompt token + each new token), in every run"
    return Target(text, f"worst {worst:.4f}, median {median:.4f}", worst <= TARGET_RATIO)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=embedded_model_path())
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--set", choices=SETS, action="append", help="repeatable; default: both")
    parser.add_argument("--limit", type=int, help="so many bugs, spread over the sets")
    parser.add_argument("--attempts", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command-s", type=float, default=20.0, help="limit of one test run, in seconds")
    parser.add_argument("--in-process", action="store_true", help="fork pytest without a jail: a quick look")
    parser.add_argument("--by-kind", action="store_true", help="a table by kind of bug, too")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def run_all(args: argparse.Namespace) -> tuple[dict[str, str], list[Result]]:
    """Load the model, run all bugs, one after another."""
    items = choose(bench_set.load(BUGS), args.set or SETS, args.limit)
    config = FixConfig(max_attempts=args.attempts, command_s=args.command_s)
    results: list[Result] = []
    with private_home():
        bench = Workbench(args.model.resolve(), args.threads, BarePytest() if args.in_process else None)
        for number, item in enumerate(items, 1):
            result = run_one(bench, item, config, args.seed)
            run = result.run
            cost = f"{run.num_patches} patches, {run.elapsed_s:.1f} s; blind {result.blind_rank}"
            progress(f"{number}/{len(items)} {item.set} {item.name} ({item.kind}): {run.ending}, {cost}")
            results.append(result)
        about = bench.describe()
        bench.close()
    return about, results


def main() -> None:
    """Run, print, judge."""
    args = parse_arguments()
    about, results = run_all(args)
    parts = groups(results, lambda result: result.item.set)
    for name, text in about.items():
        print(f"{name}: {text}")
    print(f"tests: {'pytest forked, no jail' if args.in_process else 'pytest as a user runs it'}; seed {args.seed}\n")
    print(table_of_fixes(parts, args.attempts) + "\n\n" + table_of_searches(parts) + "\n")
    if args.by_kind:
        print(table_of_fixes(groups(results, lambda r: f"{r.item.set} {r.item.kind}"), args.attempts) + "\n")
    options = {key: str(value) for key, value in vars(args).items()}
    bugs = [result.to_json() for result in results]
    conclude(judge(parts, results), {**about, "options": options, "bugs": bugs}, args.json)


if __name__ == "__main__":
    main()
