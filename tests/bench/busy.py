"""Completions beside other work, timed: while another request reads and writes, and what they cost it."""

import itertools
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field

from qcn_agent.benchmark.arms import Answer, Arm, Ask
from qcn_agent.benchmark.traces import TOKEN_RANGE, Tokens
from tests.bench.contest import OURS, Contest, Part, Row, running
from tests.bench.report import Target, progress
from tests.bench.stats import Quantile

LOAD_PROMPT, LOAD_NEW = 8000, 512
QUANTA_PROMPT = 1500  # read alone right after completions, to see what a quantum takes then
PROMPT, NEW = 300, 16
GAP_S = 0.05
KINDS = ("idle", "reading", "writing")
IDLE_A_ROUND = 12
COMPLETIONS_A_SECOND = 5.0
WINDOW_MS = 2000.0
MIN_SERVED = 0.9  # an agent that lets nobody in would keep its share
QUIET = {"verbosity": 3}  # the peer's log is not read here


class Typist:
    """Asks for completions whose prompts differ in their last token, in a session of their own."""

    def __init__(self, arm: Arm, choices: random.Random) -> None:
        self.arm = arm
        self._choices = choices
        self._prompt = self.tokens(PROMPT)

    def tokens(self, count: int) -> Tokens:
        """Random ones."""
        return tuple(self._choices.randrange(*TOKEN_RANGE) for _ in range(count))

    def ask(self) -> Ask:
        """The next completion."""
        prompt = (*self._prompt[:-1], *self.tokens(1))
        return Ask("typing", prompt, NEW, (PROMPT - 1,), is_completion=True)

    def complete(self) -> Answer:
        """Ask and wait."""
        return self.arm.submit(self.ask()).result()


@dataclass
class Busy:
    """Milliseconds of completions: with nothing else to do, while another request reads, and while it writes."""

    idle: list[float] = field(default_factory=list)
    reading: list[float] = field(default_factory=list)
    writing: list[float] = field(default_factory=list)
    steps_waited: list[int | None] = field(default_factory=list)
    quanta: list[float] = field(default_factory=list)  # each call of a long prompt between completions

    def has(self, count: int) -> bool:
        """Whether both kinds of load have so many samples."""
        return min(len(self.reading), len(self.writing)) >= count


def gaps(times_ms: Sequence[float]) -> list[float]:
    """Milliseconds between neighbours."""
    return [after - before for before, after in itertools.pairwise(times_ms)]


def long_request(typist: Typist) -> Ask:
    """The other request: new to the cache each time."""
    return Ask("load", typist.tokens(LOAD_PROMPT), LOAD_NEW, (LOAD_PROMPT,), wants_times=True)


def busy_round(typist: Typist, busy: Busy) -> None:
    """Some completions alone, then one after another while the load runs."""
    busy.idle += [typist.complete().total_ms for _ in range(IDLE_A_ROUND)]
    if typist.arm.name == OURS:  # the others don't say
        alone = Ask("quanta", typist.tokens(QUANTA_PROMPT), 1, (QUANTA_PROMPT,), wants_times=True)
        busy.quanta += gaps(typist.arm.submit(alone).result().chunks_ms)
    load = typist.arm.submit(long_request(typist))
    begin, seen = time.perf_counter(), []
    while not load.done():
        time.sleep(GAP_S)
        at_ms = 1e3 * (time.perf_counter() - begin)
        seen.append((at_ms, typist.complete()))
    first_ms, total_ms = load.result().first_ms, load.result().total_ms
    for at_ms, answer in seen:
        if at_ms < total_ms:
            (busy.reading if at_ms < first_ms else busy.writing).append(answer.total_ms)
            busy.steps_waited.append(answer.steps_waited)


def run_busy(contest: Contest) -> Part:
    """Rounds of all sides in turn, until there are samples enough or the time is up."""
    arms: list[Arm] = [contest.ours(), *contest.peers(**QUIET)]
    results = {arm.name: Busy() for arm in arms}
    with running(arms):
        typists = [Typist(arm, random.Random(f"{contest.seed}/busy")) for arm in arms]
        for typist in typists:
            typist.complete()
            typist.arm.submit(long_request(typist)).result()
        begin, number = time.monotonic(), 0
        while number == 0 or (
            time.monotonic() - begin < contest.limit_s
            and not all(busy.has(contest.num_samples) for busy in results.values())
        ):
            number += 1
            for typist in typists:
                progress(f"busy: round {number}, {typist.arm.name}")
                busy_round(typist, results[typist.arm.name])
        memory = {OURS: arms[0].memory()}
    idle, reading, writing = ({name: getattr(busy, kind) for name, busy in results.items()} for kind in KINDS)
    rows = [
        Row("busy", "alone, p50 ms; ours / theirs", alone(idle), memory),
        Row(
            "busy",
            "while another reads: p50 p95 max / the same idle",
            {n: shown(reading[n], idle[n]) for n in idle},
            memory,
        ),
        Row("busy", "while another writes: the same", {n: shown(writing[n], idle[n]) for n in idle}, memory),
    ]
    return Part(rows, busy_targets(results[OURS]), {name: vars(busy) for name, busy in results.items()})


def alone(samples: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Each side's median, and for the others ours over theirs with an interval."""
    medians = {name: Quantile.of(values, 0.5) for name, values in samples.items()}
    cells = {}
    for name, median in medians.items():
        ratio, low, high = medians[OURS].over(median)
        cells[name] = f"{median.value:.0f}" + ("" if name == OURS else f"; {ratio:.2f} [{low:.2f}, {high:.2f}]")
    return cells


def shown(loaded: Sequence[float], idle: Sequence[float]) -> str:
    """Median, 95th percentile and maximum over those of the idle side."""
    if not loaded:
        return "no sample"
    values = [Quantile.of(loaded, q).value / Quantile.of(idle, q).value for q in (0.5, 0.95)]
    return " ".join(f"{value:.1f}" for value in (*values, max(loaded) / max(idle))) + f" (n={len(loaded)})"


def busy_targets(busy: Busy) -> list[Target]:
    """Of our side. Without a sample, or without the count of steps, a target is missed.

    Like is compared with like: on a shared machine the 95th percentile of an idle side is far above its median, too.
    """
    idle = Quantile.of(busy.idle, 0.95)
    own = idle.value / Quantile.of(busy.idle, 0.5).value
    targets = []
    if busy.writing:
        ratio, low, high = Quantile.of(busy.writing, 0.95).over(idle)
        text = f"{ratio:.2f} [{low:.2f}, {high:.2f}], n={len(busy.writing)}; idle p95 is {own:.2f} x its median"
    else:
        ratio, text = float("inf"), "no sample"
    targets.append(Target("busy: p95 while another request writes ≤ 1.3 × idle p95", text, ratio <= 1.3))
    quantum = Quantile.of(busy.quanta, 0.5).value if busy.quanta else 0.0
    bound = idle.value + 1.5 * quantum
    p95 = Quantile.of(busy.reading, 0.95).value if busy.reading else float("inf")
    what = f"busy: p95 while another request reads ≤ idle p95 + 1.5 quanta = {idle.value:.0f} + 1.5 × {quantum:.0f} ms"
    targets.append(Target(what, f"{p95:.0f} ms, n={len(busy.reading)}", p95 <= bound))
    counted = [steps for steps in busy.steps_waited if steps is not None]
    most = f"{max(counted)}, n={len(counted)}" if counted else "not reported by this engine"
    targets.append(Target("busy: steps of other classes waited for ≤ 1", most, bool(counted) and max(counted) <= 1))
    return targets


@dataclass(frozen=True)
class Shared:
    """An agent's decoding beside completions, against alone.

    `busy_share` is c·b, the time that those answered meanwhile would take alone; `served` is their share of all.
    """

    share: float
    busy_share: float
    worst_window: float
    served: float

    @property
    def bound(self) -> float:
        """What the agent should keep."""
        return 0.9 * max(0.0, 1 - self.busy_share)


def rate(times_ms: Sequence[tuple[float, int]]) -> float:
    """Tokens a second from the first to the last that came; 0 where there are too few."""
    if len(times_ms) < 2 or times_ms[-1][0] <= times_ms[0][0]:
        return 0.0
    (begin, had), (end, has) = times_ms[0], times_ms[-1]
    return 1e3 * (has - had) / (end - begin)


def worst_rate(times_ms: Sequence[tuple[float, int]], window_ms: float) -> float:
    """The least tokens a second of any window that begins when tokens came; the whole where it is shorter."""
    rates = []
    for begin, had in times_ms:
        inside = [count for at, count in times_ms if begin <= at <= begin + window_ms]
        if begin + window_ms <= times_ms[-1][0]:
            rates.append(1e3 * (inside[-1] - had) / window_ms)
    return min(rates, default=rate(times_ms))


def interfere(typist: Typist, num_tokens: int) -> Shared:
    """One pair: the agent alone, then with completions at a fixed rate; in between their cost alone."""
    agent = Ask("agent", typist.tokens(500), num_tokens, (500,), wants_times=True)
    alone = rate(typist.arm.submit(agent).result().times_ms)
    alone_s = Quantile.of([typist.complete().total_ms for _ in range(IDLE_A_ROUND)], 0.5).value / 1e3
    answering, asked = typist.arm.submit(agent), []
    begin = time.perf_counter()
    while not answering.done():
        asked.append(typist.arm.submit(typist.ask()))
        time.sleep(max(0.0, begin + len(asked) / COMPLETIONS_A_SECOND - time.perf_counter()))
    elapsed = time.perf_counter() - begin
    num_served = sum(future.done() and future.exception() is None for future in asked)
    wait(asked)
    times = answering.result().times_ms
    worst = worst_rate(times, WINDOW_MS) / alone
    return Shared(rate(times) / alone, num_served * alone_s / elapsed, worst, num_served / len(asked))


def run_interference(contest: Contest) -> Part:
    """Pairs of all sides in turn."""
    arms: list[Arm] = [contest.ours(), *contest.peers(**QUIET)]
    results: dict[str, list[Shared]] = {arm.name: [] for arm in arms}
    with running(arms):
        typists = [Typist(arm, random.Random(f"{contest.seed}/interference")) for arm in arms]
        lengths = {typist.arm.name: _agent_tokens(typist, 3.0 if contest.is_quick else 6.0) for typist in typists}
        begin, number = time.monotonic(), 0
        while number == 0 or (time.monotonic() - begin < contest.limit_s and number < contest.num_samples // 20):
            number += 1
            for typist in typists:
                progress(f"interference: pair {number}, {typist.arm.name}")
                results[typist.arm.name].append(interfere(typist, lengths[typist.arm.name]))
        memory = {OURS: arms[0].memory()}
    cells = {name: _shown_shares(pairs) for name, pairs in results.items()}
    row = Row(
        "interference", f"share of idle at {COMPLETIONS_A_SECOND:.0f}/s (bound); worst 2 s; served", cells, memory
    )
    numbers = {name: [vars(pair) for pair in pairs] for name, pairs in results.items()}
    return Part([row], interference_targets(results[OURS]), numbers)


def _agent_tokens(typist: Typist, seconds: float) -> int:
    probe = Ask("agent", typist.tokens(500), 256, wants_times=True)
    return max(256, min(8000, int(seconds * rate(typist.arm.submit(probe).result().times_ms))))


def _shown_shares(pairs: Sequence[Shared]) -> str:
    names = ("share", "bound", "worst_window", "served")
    share, bound, worst, served = (Quantile.of([getattr(pair, name) for pair in pairs], 0.5).value for name in names)
    return f"{share:.2f} ({bound:.2f}); {worst:.2f}; {served:.0%}"


def interference_targets(pairs: Sequence[Shared]) -> list[Target]:
    """Of our side: the median pair keeps its share while completions are served, and no window of any pair starves."""
    margin = Quantile.of([pair.share - pair.bound for pair in pairs], 0.5)
    served = Quantile.of([pair.served for pair in pairs], 0.5).value
    worst = min(pair.worst_window for pair in pairs)
    text = f"{_shown_shares(pairs)}, difference {margin.value:+.2f} [{margin.low:+.2f}, {margin.high:+.2f}]"
    what = f"interference: agent's share ≥ 0.9 × (1 − c·b), ≥ {MIN_SERVED:.0%} of completions answered meanwhile"
    return [
        Target(what, f"{text}, n={len(pairs)}", margin.value >= 0 and served >= MIN_SERVED),
        Target("interference: share over any 2 s ≥ 30%", f"{worst:.0%}", worst >= 0.3),
    ]
