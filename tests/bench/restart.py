"""Restarts: a killed process comes back and is asked for the next turn of each session."""

import random
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from qcn_agent.benchmark.arms import Answer, Arm, Ask
from qcn_agent.benchmark.replay import Score
from qcn_agent.benchmark.traces import TOKEN_RANGE, Tokens, ideal
from tests.bench.contest import OURS, Contest, Part, Row, running
from tests.bench.engine_setup import model_bytes_of
from tests.bench.ours import OurArm
from tests.bench.report import Target, progress

SHORT_SESSIONS = (2000, 4000)
LONG, QUICK_LONG = 32_768, 8192
NEXT_TURN = 100
SETTLE_S = 60.0
LOADED_SESSIONS, LOADED_PROMPT, LOADED_TURN, LOADED_NEW = 4, 2000, 500, 64


@dataclass(frozen=True)
class Turn:
    """A request and its answer."""

    ask: Ask
    answer: Answer


def first_turn(name: str, prompt: Tokens) -> Ask:
    """A session's beginning."""
    return Ask(name, prompt, 4, (len(prompt),))


def next_turn(turn: Turn, message: Tokens, num_new: int = 4) -> Ask:
    """The session goes on: prompt, answer, new message."""
    path = (*turn.ask.prompt, *turn.answer.tokens)
    boundaries = (len(turn.ask.prompt), len(path), len(path) + len(message))
    return Ask(turn.ask.session, (*path, *message), num_new, boundaries)


def ask_all(arm: Arm, asks: Sequence[Ask]) -> list[Turn]:
    """One after another."""
    return [Turn(ask, arm.submit(ask).result()) for ask in asks]


def score(before: Sequence[Turn], after: Sequence[Turn]) -> Score:
    """What the turns after the restart evaluated, beside what is new in them."""
    turns = [*before, *after]
    new = ideal([turn.ask.prompt for turn in turns], [turn.answer.tokens for turn in turns])
    return Score(sum(turn.answer.num_evaluated for turn in after), sum(new[len(before) :]))


def settle(arm: OurArm) -> float | None:
    """Wait until nothing is pending; seconds that took. None: the engine doesn't say, or is not done in time."""
    begin = time.monotonic()
    while time.monotonic() - begin < SETTLE_S:
        pending = arm.figures().pending_spill_bytes
        if not pending:
            return None if pending is None else time.monotonic() - begin
        time.sleep(0.05)
    return None


def restart_idle(contest: Contest, arm: Arm) -> tuple[Score, float, float]:
    """(Score, milliseconds to evaluate the longest session, milliseconds of its next turn after the restart)."""
    choices = random.Random(f"{contest.seed}/restart")
    sizes = (*SHORT_SESSIONS, QUICK_LONG if contest.is_quick else LONG)
    prompts = [tuple(choices.randrange(*TOKEN_RANGE) for _ in range(size)) for size in sizes]
    messages = [tuple(choices.randrange(*TOKEN_RANGE) for _ in range(NEXT_TURN)) for _ in sizes]
    before = ask_all(arm, [first_turn(f"s{number}", prompt) for number, prompt in enumerate(prompts)])
    if isinstance(arm, OurArm):
        settle(arm)
    arm.kill()
    arm.start()
    after = ask_all(arm, [next_turn(turn, message) for turn, message in zip(before, messages, strict=True)])
    return score(before, after), before[-1].answer.first_ms, after[-1].answer.first_ms


def run_restart(contest: Contest) -> Part:
    """Killed with nothing pending."""
    results, memory = {}, {}
    arms: list[Arm] = [contest.ours(), *contest.peers()]
    for arm in arms:
        progress(f"restart: {arm.name}")
        with running([arm]):
            results[arm.name] = restart_idle(contest, arm)
            memory[arm.name] = arm.memory()
    length = QUICK_LONG if contest.is_quick else LONG
    ratios = {name: f"{one[0].ratio:.2f}" for name, one in results.items()}
    counted = Row("restart", "evaluated / ideal", ratios, memory)
    times = {name: f"{evaluated / again:.1f}" for name, (_, evaluated, again) in results.items()}
    timed = Row("restart", f"next turn at {length} tokens, times faster than evaluating", times, memory)
    ours, evaluated_ms, again_ms = results[OURS]
    speed = evaluated_ms / again_ms
    targets = [
        Target("restart: evaluated / ideal ≤ 1.10", f"{ours.ratio:.2f} ({ours.evaluated} tokens)", ours.ratio <= 1.10),
        Target(
            f"restart: a session of {length} tokens ≥ 20 × faster than evaluating it",
            f"{speed:.1f} ({evaluated_ms:.0f} ms, then {again_ms:.0f} ms)",
            speed >= 20,
        ),
    ]
    return Part([counted, timed], targets, {name: [vars(one[0]), *one[1:]] for name, one in results.items()})


@dataclass(frozen=True)
class Crash:
    """What a kill under load cost. `pending` are tokens that were not on disk by the engine's own word."""

    score: Score
    pending: int | None
    num_wrong: int

    @property
    def is_bounded(self) -> bool:
        """Whether no more was evaluated than was new or pending."""
        return self.score.evaluated <= self.score.ideal + (self.pending or 0)


def wrong_tokens(answers: Sequence[Tokens], expected: Sequence[Tokens]) -> int:
    """Positions where answers differ, and tokens that are missing or too many."""
    total = 0
    for answer, right in zip(answers, expected, strict=True):
        total += sum(a != b for a, b in zip(answer, right, strict=False)) + abs(len(answer) - len(right))
    return total


def crash(contest: Contest, number: int) -> Crash:
    """Kill our side at a random moment of several concurrent turns, ask them again, and compare with a fresh engine."""
    choices = random.Random(f"{contest.seed}/crash/{number}")

    def draw(count: int) -> Tokens:
        return tuple(choices.randrange(*TOKEN_RANGE) for _ in range(count))

    arm = contest.ours()
    with running([arm]):
        before = ask_all(arm, [first_turn(f"s{session}", draw(LOADED_PROMPT)) for session in range(LOADED_SESSIONS)])
        asks = [next_turn(turn, draw(LOADED_TURN), LOADED_NEW) for turn in before]
        pending = _kill_in(arm, asks, choices.uniform(0.05, 0.8), model_bytes_of(contest.setup)[1])
        arm.start()
        after = ask_all(arm, asks)
    fresh = contest.ours()
    with running([fresh]):
        expected = ask_all(fresh, asks)
    num_wrong = wrong_tokens([turn.answer.tokens for turn in after], [turn.answer.tokens for turn in expected])
    return Crash(score(before, after), pending, num_wrong)


def _kill_in(arm: OurArm, asks: Sequence[Ask], seconds: float, token_bytes: int) -> int | None:
    """Send all, wait, kill. Tokens that were pending just before; the last token of an answer always is."""
    lost: list[Future[Answer]] = [arm.submit(ask) for ask in asks]
    time.sleep(seconds)
    pending = arm.figures().pending_spill_bytes
    arm.kill()
    for future in lost:
        future.exception()  # answered or lost; waits until the reader has noticed
    return None if pending is None else -(-pending // token_bytes) + len(asks)


def run_crash(contest: Contest) -> Part:
    """Killed under load, several times; the peer keeps nothing, so it is not asked."""
    crashes = []
    for number in range(1 if contest.is_quick else 5):
        progress(f"crash: {number}")
        crashes.append(crash(contest, number))
    evaluated, new = (sum(getattr(one.score, name) for one in crashes) for name in ("evaluated", "ideal"))
    known = [one.pending for one in crashes if one.pending is not None]
    pending = f"{sum(known)} pending" if known else "pending: not reported by this engine"
    num_wrong = sum(one.num_wrong for one in crashes)
    num_compared = len(crashes) * LOADED_SESSIONS * LOADED_NEW
    text = f"{evaluated} evaluated, {new} ideal, {pending}, {len(crashes)} kills"
    targets = [
        Target("crash: evaluated ≤ ideal + what was pending", text, all(one.is_bounded for one in crashes)),
        Target("crash: wrong tokens = 0", f"{num_wrong} of {num_compared}", not num_wrong),
    ]
    cells = {OURS: f"{evaluated / max(1, new):.2f}; {num_wrong}"}
    row = Row("crash", "evaluated / ideal; wrong tokens", cells)
    return Part([row], targets, [{**vars(one), "score": vars(one.score)} for one in crashes])
