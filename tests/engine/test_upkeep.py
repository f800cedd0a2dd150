"""What is done when nobody waits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.generator import GenerationRequest, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.session import SessionManager, Step
from qcn_agent.engine.upkeep import Upkeep
from qcn_agent.errors import EngineError

RandomTokens = Callable[[int, int], IntArray]


class Clock:
    """Moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def manager(backend: LlamaBackend, tmp_path: Path, random_tokens: RandomTokens) -> SessionManager:
    """One conversation that is not saved yet."""
    store = DiskStore(tmp_path, "model", 1 << 24)
    made = SessionManager(backend, 9, host_bytes=1 << 24, store=store)
    prepared = made.prepare(GenerationRequest("s", random_tokens(40, 1), 1))
    made.extend([Step(prepared.session, random_tokens(40, 1))])
    made.release(prepared.session)
    return made


def test_rest_saves_until_nothing_is_pending(manager: SessionManager) -> None:
    """It is due until then, and not any more afterwards."""
    upkeep = Upkeep(manager, Clock())
    while upkeep.is_due:
        upkeep.rest()
    assert manager.pending_spill_bytes == 0
    assert manager.num_disk_bytes > 0


def test_the_books_are_checked_every_half_minute(manager: SessionManager) -> None:
    """A fault is found at the next check, not at each rest."""
    clock = Clock()
    upkeep = Upkeep(manager, clock)
    while upkeep.is_due:
        upkeep.rest()
    manager.cache.kept.tree.num_nodes += 1
    upkeep.rest()
    clock.now = 31.0
    with pytest.raises(EngineError, match="miscounted"):
        upkeep.rest()


def test_a_check_gives_way_to_whoever_comes_and_is_made_up_for(manager: SessionManager) -> None:
    """With many conversations it takes long; nobody waits for it, and the next rest begins it again."""
    news = [True]
    upkeep = Upkeep(manager, Clock(), lambda: news[0])
    while upkeep.is_due:
        upkeep.rest()
    manager.cache.kept.tree.num_nodes += 1
    upkeep.rest()
    news[0] = False
    with pytest.raises(EngineError, match="miscounted"):
        upkeep.rest()


def test_a_busy_day_is_saved_piece_by_piece(manager: SessionManager) -> None:
    """A piece at the first step, and one after each sixty-four, however many of them one look comprises."""
    upkeep = Upkeep(manager, Clock())
    stored = manager.cache.kept.stored
    upkeep.after(3)
    assert len(stored) == 1
    (node,) = stored
    upkeep.after(66)
    assert node.state is None
    for num_steps in range(90, 64 * 100, 64):  # writing what is copied comes first, and is waited for piece by piece
        upkeep.after(num_steps)
    assert node.state is not None
