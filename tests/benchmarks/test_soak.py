"""The soak test itself: a short run on a real model, and verdicts that can be lost."""

import argparse
import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import TokenLogprob
from tests.bench import soak
from tests.bench.soak import Failures, Sample, growth, judge, parse, shown
from tests.bench.soak_clients import Answered, Crowd, die
from tests.bench.soak_replay import TIE, OtherCalls, Replay
from tests.random_models import write_hybrid

SAMPLE = Sample(0.0, 0, 100 << 20, 8, 1 << 20, 2, 1 << 20, 3, True)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random float32 hybrid."""
    path = tmp_path_factory.mktemp("models") / "hybrid.gguf"
    write_hybrid(path)
    return path


@pytest.fixture
def engine(model_path: Path) -> Iterator[Engine]:
    """With the budgets of the soak test."""
    loaded = Engine.load(soak.CONFIG, model_path, scheduling=soak.SCHEDULING)
    yield loaded
    loaded.close()


@pytest.fixture
def replay(model_path: Path) -> Iterator[Replay]:
    """With an engine that keeps nothing."""
    cold = Engine.load(replace(soak.CONFIG, host_cache_mb=0, disk_cache_mb=0), model_path)
    others = OtherCalls(model_path, soak.CONFIG)
    yield Replay(cold, others)
    cold.close()
    others.close()


def test_a_short_run_loses_nothing(engine: Engine, replay: Replay, home: Path) -> None:
    """Every kind of client had its turn; books balance, answers are those of a cold engine."""
    crowd, failures = Crowd(engine, 1), Failures()
    logging.getLogger("qcn_agent").addHandler(failures)
    args = argparse.Namespace(minutes=0.0, requests=100, compared=2)
    samples, checked = asyncio.run(soak.run(engine, crowd, replay, args, home / "cache" / "kv"))
    logging.getLogger("qcn_agent").removeHandler(failures)
    assert crowd.num_requests >= 100
    assert set(crowd.done) == {"turn", "retry", "branch", "background", "type", "cancel", "die", "drop"}
    assert replay.num_compared == len(checked) >= 4
    missed = [target for target in judge(samples, crowd, replay, failures)[1:] if not target.is_met]
    assert missed == []


def test_who_dies_leaves_the_engine_to_the_others(engine: Engine, replay: Replay) -> None:
    """Its loop is closed in the middle of an answer; the next one gets the right one."""
    crowd = Crowd(engine, 2)
    die(engine, crowd._request("s0", crowd._paths["s0"]))
    asyncio.run(crowd._turn("s0"))
    (answered,) = crowd.sample(5)
    asyncio.run(replay.check(answered))
    assert (replay.wrong, replay.num_compared) == ([], 1)


def answer(*tokens: int) -> Answered:
    """An answer to some prompt."""
    return Answered(np.arange(5, dtype=np.int32), np.array(tokens, np.int32), "turn")


def logprobs(*margins: float) -> list[TokenLogprob]:
    """Of tokens 1, with 2 less likely by the margin."""
    return [TokenLogprob(1, -1.0, ((1, -1.0), (2, -1.0 - margin))) for margin in margins]


def test_another_token_is_wrong_unless_it_is_a_tie(replay: Replay) -> None:
    """A tie ends the comparison; a wider margin, an unlisted token or a missing one is wrong."""
    replay.compare(answer(1, 1), [1, 1], logprobs(1, 1))
    replay.compare(answer(1, 2, 9), [1, 1, 1], logprobs(1, TIE / 2, 1))
    assert (replay.wrong, replay.num_ties, replay.num_tokens) == ([], 1, 3)
    assert replay.widest_tie == pytest.approx(TIE / 2)
    replay.compare(answer(2), [1], logprobs(2 * TIE))
    replay.compare(answer(7), [1], logprobs(0.0))
    replay.compare(answer(1), [1, 1], logprobs(1, 1))
    assert len(replay.wrong) == 3


def test_a_token_that_other_calls_find_is_a_near_tie(replay: Replay) -> None:
    """The path is read again in calls of other sizes; what none of them finds stays wrong."""
    found = replay._likeliest(np.arange(5, dtype=np.int32))
    (token,) = found
    replay.compare(answer(token), [token + 1], [TokenLogprob(token + 1, -1.0, ((token + 1, -1.0), (token, -3.0)))])
    assert (replay.wrong, replay.num_ties) == ([], 1)
    replay.compare(answer(token + 2), [token + 1], [TokenLogprob(token + 1, -1.0, ((token + 1, -1.0),))])
    assert len(replay.wrong) == 1


def test_growth_is_that_after_the_warm_up() -> None:
    """What is taken in the first 40% of the time doesn't count; what leaks later does."""
    sizes = [10, 60, 90, 100, 100, 100, 100, 100, 100, 100]
    flat = [replace(SAMPLE, seconds=float(n), resident_bytes=size << 20) for n, size in enumerate(sizes)]
    leaking = [replace(sample, resident_bytes=(100 + n) << 20) for n, sample in enumerate(flat)]
    assert growth(flat) == pytest.approx((100 << 20, 0), abs=1)
    assert growth(leaking)[1] == pytest.approx(5 << 20)
    assert growth(flat[:1])[1] == float("inf")


def test_each_failure_is_a_miss(engine: Engine, replay: Replay) -> None:
    """Too much held, no rest, a logged error, a failed request, a wrong token, growth."""
    crowd, failures = Crowd(engine, 1), Failures()
    replay.num_compared = 1
    good = [replace(SAMPLE, seconds=float(n)) for n in range(10)]
    assert all(target.is_met for target in judge(good, crowd, replay, failures))
    bad = [
        replace(s, resident_bytes=(100 + 20 * n) << 20, device_states=9, host_bytes=5 << 20, disk_bytes=9 << 20)
        for n, s in enumerate(good)
    ]
    bad[3] = replace(bad[3], is_idle=False)
    crowd.errors.append("turn: EngineError()")
    replay.wrong.append("turn")
    failures.emit(logging.LogRecord("qcn_agent", logging.ERROR, "", 0, "out of balance", (), None))
    assert not any(target.is_met for target in judge(bad, crowd, replay, failures))


def test_samples_are_shown_as_a_table() -> None:
    """At most about twenty of them."""
    lines = shown([replace(SAMPLE, seconds=float(n)) for n in range(100)]).splitlines()
    assert len(lines) == 2 + 20
    assert "100.0" in lines[2]


def test_the_command_line_asks_for_half_an_hour() -> None:
    """And for ten thousand requests."""
    args = parse([])
    assert (args.minutes, args.requests) == (30, 10_000)
