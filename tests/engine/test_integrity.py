"""Damaged books are noticed, whatever is wrong with them."""

from collections.abc import Callable

import pytest

from qcn_agent.engine.generator import GenerationRequest, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.residency import Residency
from qcn_agent.engine.session import SessionManager, Step
from qcn_agent.errors import EngineError

RandomTokens = Callable[[int, int], IntArray]
Damage = Callable[[Residency], object]


def _shorten(kept: Residency) -> None:
    next(iter(kept.branches.values())).ledger.truncate(5)


def _leave_path(kept: Residency) -> None:
    next(iter(kept.branches.values())).ledger._tokens[0] += 1


def _unhold(kept: Residency) -> None:
    next(kept.tree.nodes()).holders.clear()


def _withdraw(kept: Residency) -> None:
    next(iter(kept.branches.values())).node.live.clear()


def _cut_loose(kept: Residency) -> None:
    next(kept.tree.nodes()).start += 1


def _miscount(kept: Residency) -> None:
    kept.tree.num_nodes += 1


def _forget_copy(kept: Residency) -> None:
    kept.stored.add(kept.tree.root)


def _disown(kept: Residency) -> None:
    max(kept.tree.nodes(), key=lambda node: node.start).projects.add("stranger")


def _miscount_bytes(kept: Residency) -> None:
    kept.tiers.arena.num_bytes += 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda kept: kept.free.pop(), "lost or shared"),
        (lambda kept: kept.free.append(0), "lost or shared"),
        (_shorten, "differ in length"),
        (_leave_path, "not on its path"),
        (_unhold, "does not hold"),
        (_withdraw, "not offered"),
        (_cut_loose, "."),
        (_miscount, "miscounted"),
        (_forget_copy, "unaccounted"),
        (_disown, "did not come through"),
        (_miscount_bytes, "add up"),
    ],
)
def test_each_kind_of_damage_is_noticed(
    backend: LlamaBackend, random_tokens: RandomTokens, damage: Damage, words: str
) -> None:
    """A sound cache passes; after the damage it says what is wrong."""
    manager = SessionManager(backend, 9, host_bytes=1 << 24)
    prompt = random_tokens(80, 1)
    prepared = manager.prepare(GenerationRequest("s", prompt, 1, boundaries=(20,)))
    manager.extend([Step(prepared.session, prompt[:20])])
    manager.snapshot(prepared.session, is_anchor=True)
    manager.extend([Step(prepared.session, prompt[20:])])
    manager.release(prepared.session)
    manager.cache.write_behind()
    manager.check_integrity()
    damage(manager.cache.kept)
    with pytest.raises(EngineError, match=words):
        manager.check_integrity()
