"""What is worth keeping, and who has to go."""

from collections.abc import Callable

import numpy as np
import pytest

from qcn_agent.engine.backend import NoCellsError
from qcn_agent.engine.generator import GenerationRequest, IntArray, Priority
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.residency import Residency
from qcn_agent.engine.session import SessionManager, Step

RandomTokens = Callable[[int, int], IntArray]
HOST_BYTES = 8 << 20


class Cache:
    """Reads whole prompts."""

    def __init__(self, backend: LlamaBackend, num_states: int, host_bytes: int = HOST_BYTES) -> None:
        self.manager = SessionManager(backend, num_states, host_bytes=host_bytes)

    @property
    def kept(self) -> Residency:
        """The books."""
        return self.manager.cache.kept

    def read(self, name: str, prompt: IntArray, boundary: int = 0) -> int:
        """One prompt without an answer; how much of it was reused."""
        prepared = self.manager.prepare(GenerationRequest(name, prompt, 1, boundaries=(boundary,)))
        session = prepared.session
        while (begin := len(session.ledger)) < len(prompt):
            if begin in prepared.cuts:
                self.manager.snapshot(session, is_anchor=begin == boundary)
            end = min([begin + 64, len(prompt), *[cut for cut in prepared.cuts if cut > begin][:1]])
            self.manager.extend([Step(session, prompt[begin:end])])
        self.manager.release(session)
        self.manager.check_integrity()
        return prepared.num_reused_tokens


@pytest.fixture
def cache(backend: LlamaBackend) -> Cache:
    """Six states on the device."""
    return Cache(backend, 6)


def test_an_anchor_outlives_younger_points(cache: Cache, random_tokens: RandomTokens) -> None:
    """Many conversations later their common beginning is still there."""
    system = random_tokens(100, 0)
    for number in range(12):
        cache.read(f"s{number}", np.concatenate([system, random_tokens(60, number + 1)]), 100)
    assert any(node.is_anchor and node.end == 100 and node.has_state for node in cache.kept.tree.nodes())
    assert cache.read("new", np.concatenate([system, random_tokens(10, 99)]), 100) == 100


def test_what_left_the_device_is_on_the_host(cache: Cache, random_tokens: RandomTokens) -> None:
    """An evicted conversation comes back from its copies, as long as there is room for them."""
    prompts = {f"s{n}": random_tokens(150, n) for n in range(10)}
    for name, prompt in prompts.items():
        cache.read(name, prompt)
    assert cache.manager.cache.num_device_states <= 6
    reused = [cache.read(name, np.concatenate([prompt, random_tokens(9, 77)])) for name, prompt in prompts.items()]
    assert reused == [150] * 10
    assert cache.manager.tiers.num_restored_host_tokens >= 4 * 150


def test_host_memory_is_a_limit(backend: LlamaBackend, random_tokens: RandomTokens) -> None:
    """With room for a few, the least useful copies give way, and never a byte more is held."""
    limit = int(3.5 * (backend.info.state_bytes + 150 * backend.info.kv_bytes_per_token))
    cache = Cache(backend, 4, limit)
    for number in range(20):
        cache.read(f"s{number}", random_tokens(150, number))
        assert cache.manager.tiers.arena.num_bytes <= limit
    assert cache.manager.tiers.arena.num_states >= 2
    assert cache.read("s19", np.concatenate([random_tokens(150, 19), random_tokens(3, 50)])) == 150


def test_without_host_memory_nothing_is_copied(backend: LlamaBackend, random_tokens: RandomTokens) -> None:
    """What leaves the device is gone, and the books say so."""
    cache = Cache(backend, 4, 0)
    for number in range(8):
        cache.read(f"s{number}", random_tokens(150, number))
    assert cache.kept.stored == set()
    assert cache.read("s0", random_tokens(150, 0)) == 0


def test_a_tail_is_worth_more_than_a_point_close_behind_it(cache: Cache, random_tokens: RandomTokens) -> None:
    """Where a conversation stopped it will go on: its value does not shrink with the distance to the last state."""
    cache.read("s", random_tokens(150, 1))
    (branch,) = cache.kept.branches.values()
    tail = cache.kept.value(branch.node, is_kept=False)
    assert tail == max(cache.kept.value(node, is_kept=False) for node in cache.kept.tree.nodes() if node.has_state)
    assert cache.kept.value(branch.node, is_kept=True) < tail


def test_value_fades_with_age(cache: Cache, random_tokens: RandomTokens) -> None:
    """The same tail is worth less after others were used."""
    cache.read("old", random_tokens(150, 1))
    (branch,) = cache.kept.branches.values()
    fresh = cache.kept.value(branch.node, is_kept=False)
    for number in range(3):
        cache.read("young", random_tokens(150, 2 + number))
    assert cache.kept.value(branch.node, is_kept=False) < fresh


def test_logits_are_kept_for_as_many_ends_as_there_are_states(cache: Cache, random_tokens: RandomTokens) -> None:
    """They are small beside a state, but not nothing."""
    cache.read("s", random_tokens(150, 1))
    nodes = list(cache.kept.tree.nodes())
    for _ in range(4):
        for node in nodes:
            cache.kept.keep_logits(node, np.zeros(4, np.float32))
    assert sum(node.logits is not None for node in nodes) == min(len(nodes), 6)


def test_a_shortage_of_cells_is_waited_for_and_costs_nothing(
    make_backend: Callable[..., LlamaBackend], random_tokens: RandomTokens
) -> None:
    """While another generation fills the cache a conversation can't come back; when it has ended it does, whole."""
    cache = Cache(make_backend(n_ctx=256), 9)
    prompt, other = random_tokens(150, 1), random_tokens(250, 2)
    cache.read("a", prompt, 60)
    running = cache.manager.prepare(GenerationRequest("b", other, 1)).session
    for begin in range(0, 250, 50):
        cache.manager.extend([Step(running, other[begin : begin + 50])])
    more = np.concatenate([prompt, random_tokens(9, 3)])
    for _ in range(3):
        with pytest.raises(NoCellsError):
            cache.manager.prepare(GenerationRequest("a", more, 1))
        cache.manager.check_integrity()
    cache.manager.release(running)
    assert cache.read("a", more, 60) == 150


def test_who_rests_while_others_compute_leaves_the_device(cache: Cache, random_tokens: RandomTokens) -> None:
    """Its cells make each call of others longer. It comes back from its copies; without copies it stays."""
    prompt = random_tokens(150, 1)
    cache.read("resting", prompt)
    (resting,) = [branch for branch in cache.kept.branches.values() if branch.name == "resting"]
    cache.kept.num_calls += 200  # of others
    assert resting not in cache.kept.stale()
    while cache.manager.idle_work(1.0):
        pass
    cache.manager.idle_work()
    assert "resting" not in {branch.name for branch in cache.kept.branches.values()}
    assert cache.read("resting", np.concatenate([prompt, random_tokens(10, 9)])) == 150


def test_a_completion_s_branch_stays_while_somebody_may_type_on(cache: Cache, random_tokens: RandomTokens) -> None:
    """Reading it back would be waited for."""
    prompt = random_tokens(60, 1)
    request = GenerationRequest("fim", prompt, 1, priority=Priority.COMPLETION)
    branch = cache.manager.prepare(request).session
    cache.manager.extend([Step(branch, prompt)])
    cache.manager.release(branch)
    cache.kept.num_calls += 200
    while cache.manager.idle_work(1.0):
        pass
    cache.manager.idle_work()
    assert branch in cache.kept.branches.values()
