"""Any mixture of requests, cancels, aborts and shortage leaves balanced books and exact states."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine.generator import Finished, FloatArray, GenerationRequest, IntArray, Priority
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.sequence import Sequence
from qcn_agent.engine.session import Step
from tests.fakes.desk import Desk, Recorder

RandomTokens = Callable[[int, int], IntArray]

ENDLESS = Grammar("root ::= [a-z] root")


class Crowd:
    """Clients that ask, retry, branch and leave, over more sessions than there are branches."""

    def __init__(self, desk: Desk, seed: int, random_tokens: RandomTokens) -> None:
        self.desk = desk
        self.random = np.random.default_rng(seed)
        self.tokens = random_tokens
        self.paths = {f"s{n}": random_tokens(40, 0) for n in range(5)}
        self.submitted: list[tuple[Sequence, Recorder]] = []

    def ask(self) -> None:
        """Submit a request that goes on from, or branches off, a path of its session."""
        name = str(self.random.choice(list(self.paths)))
        keep = int(self.random.integers(40, len(self.paths[name]) + 1))
        new = self.tokens(int(self.random.integers(1, 150)), int(self.random.integers(1 << 30)))
        prompt = np.concatenate([self.paths[name][:keep], new])
        self.paths[name] = prompt[:300]
        request = GenerationRequest(name, prompt, int(self.random.integers(1, 12)), boundaries=(40, keep))
        priority = Priority(int(self.random.integers(3)))
        deadline = float(self.random.integers(20, 400)) if self.random.random() < 0.2 else None
        grammar = ENDLESS if self.random.random() < 0.5 else None
        self.submitted.append(
            self.desk.submit(replace(request, priority=priority, deadline_ms=deadline, grammar=grammar))
        )

    def act(self) -> None:
        """One random operation, then a few steps."""
        action = self.random.random()
        if action < 0.55:
            self.ask()
        elif action < 0.7:
            self.desk.log.during_call = self.ask
        elif action < 0.85 and self.submitted:
            self.submitted[int(self.random.integers(len(self.submitted)))][0].cancel()
        else:
            self.desk.scheduler.drop_session(str(self.random.choice(list(self.paths))))
        for _ in range(int(self.random.integers(0, 6))):
            self.desk.scheduler.step()
        self.desk.sessions.check_integrity()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("changes", [{}, {"n_ctx": 512}], ids=["roomy", "short of room"])
def test_a_crowd_is_served_exactly(
    make_backend: Callable[..., LlamaBackend],
    random_tokens: RandomTokens,
    replay: Callable[..., FloatArray],
    seed: int,
    changes: dict[str, Any],
) -> None:
    """Each request ends, in one way; the states left behind are those of a replay of their ledgers.

    They may differ by rounding, as attention adds up in the order of cells (see the random walk of the scheduler).
    """
    desk = Desk(make_backend(flash_attention=False, **changes), SchedulerConfig(abort_ms=0.001))
    crowd = Crowd(desk, seed, random_tokens)
    for _ in range(80):
        crowd.act()
    desk.finish()
    desk.run(GenerationRequest("last", random_tokens(90, 98), 4, boundaries=(40,)))
    for sequence, recorder in crowd.submitted:
        ends = sum(isinstance(event, Finished) for event in recorder.received)
        assert recorder.is_closed
        assert ends + (recorder.error is not None) <= 1
        assert ends or recorder.error or sequence.cancelled
    assert desk.scheduler.stats.max_completion_steps_waited <= 1
    assert desk.scheduler.queue_length == 0
    probe = random_tokens(3, 99)
    while desk.sessions.sessions:
        name = desk.sessions.sessions[0].name
        branch = next(branch for branch in desk.sessions.cache.kept.branches.values() if branch.name == name)
        prompt = np.concatenate([branch.ledger.tokens, probe])
        session = desk.sessions.prepare(GenerationRequest(name, prompt, 1)).session
        desk.sessions.extend([Step(session, prompt[len(session.ledger) :], True)])
        expected = replay(session.ledger.tokens, session.ledger.splits, flash_attention=False)
        assert np.abs(desk.backend.logits() - expected).max() < 0.12 * expected.std()
        desk.sessions.release(session)
        desk.sessions.drop(name)
