"""After a restart a conversation comes back by reading, not by evaluating."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.generator import FloatArray, GenerationRequest, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.session import Prepared, SessionManager, Step
from tests.engine.walk import TOLERANCE

RandomTokens = Callable[[int, int], IntArray]
MakeBackend = Callable[..., LlamaBackend]
Replay = Callable[..., FloatArray]
NUM_STATES, HOST_BYTES = 8, 64 << 20


class Daemon:
    """A cache over one folder that can be killed and started again."""

    def __init__(
        self, backend: LlamaBackend, folder: Path, disk_bytes: int = 1 << 30, host_bytes: int = HOST_BYTES
    ) -> None:
        self.backend = backend
        self._host_bytes = host_bytes
        self._folder = folder
        self._disk_bytes = disk_bytes
        self.manager = self._start()

    def _start(self) -> SessionManager:
        store = DiskStore(self._folder, "model", self._disk_bytes)
        return SessionManager(self.backend, NUM_STATES, host_bytes=self._host_bytes, store=store)

    def restart(self, *, saved: bool) -> None:
        """End, in order or by a kill, and start with an empty context."""
        assert self.manager.persistence is not None
        if saved:
            self.manager.close()
        else:
            self.manager.persistence.close()
        for seq_id in range(NUM_STATES + 1):
            self.backend.drop(seq_id)
        self.manager = self._start()
        self.manager.check_integrity()

    def read(self, session: str, prompt: IntArray, boundary: int) -> Prepared:
        """One turn."""
        prepared = self.manager.prepare(GenerationRequest(session, prompt, 1, boundaries=(boundary,)))
        while (begin := len(prepared.session.ledger)) < len(prompt):
            if begin in prepared.cuts:
                self.manager.snapshot(prepared.session, is_anchor=begin == boundary)
            end = min([begin + 64, len(prompt), *[cut for cut in prepared.cuts if cut > begin][:1]])
            self.manager.extend([Step(prepared.session, prompt[begin:end], end == len(prompt))])
        self.manager.release(prepared.session)
        self.manager.check_integrity()
        return prepared


@pytest.fixture
def daemon(make_backend: MakeBackend, hybrid_model_path: Path, tmp_path: Path) -> Daemon:
    """Over the random float32 model."""
    backend = make_backend(hybrid_model_path, flash_attention=False, max_states=NUM_STATES)
    return Daemon(backend, tmp_path / "kv")


def test_each_conversation_goes_on_after_a_restart(
    daemon: Daemon, random_tokens: RandomTokens, replay: Replay, hybrid_model_path: Path
) -> None:
    """Only the new tokens are evaluated, and the logits are those of a replay."""
    system = random_tokens(90, 0)
    paths = {f"s{n}": np.concatenate([system, random_tokens(100, 1 + n)]) for n in range(3)}
    for name, path in paths.items():
        daemon.read(name, path, 90)
    daemon.restart(saved=True)
    for name, path in paths.items():
        prepared = daemon.read(name, np.concatenate([path, random_tokens(20, 9)]), 90)
        assert prepared.num_reused_tokens == 190
        ledger = prepared.session.ledger
        expected = replay(ledger.tokens, ledger.splits, path=hybrid_model_path, flash_attention=False)
        assert np.abs(daemon.backend.logits() - expected).max() < TOLERANCE * expected.std()
    assert daemon.manager.tiers.num_restored_disk_tokens >= 190


def test_a_kill_loses_only_what_was_pending(daemon: Daemon, random_tokens: RandomTokens) -> None:
    """`pending_spill_bytes` goes to zero as the idle work is done; after that a kill costs nothing."""
    first, second = random_tokens(150, 1), random_tokens(150, 2)
    daemon.read("a", first, 60)
    assert daemon.manager.pending_spill_bytes > 0
    while daemon.manager.idle_work():
        pass
    assert daemon.manager.pending_spill_bytes == 0
    daemon.read("b", second, 60)
    daemon.restart(saved=False)
    assert daemon.read("a", np.concatenate([first, second[:5]]), 60).num_reused_tokens == 150
    assert daemon.read("b", second, 60).num_reused_tokens == 0


def test_what_was_dropped_stays_dropped(daemon: Daemon, random_tokens: RandomTokens) -> None:
    """A forgotten conversation leaves its anchor and no other file."""
    prompt = random_tokens(150, 1)
    daemon.read("a", prompt, 60)
    while daemon.manager.idle_work():
        pass
    daemon.manager.drop("a")
    daemon.restart(saved=True)
    assert daemon.read("a", prompt, 60).num_reused_tokens == 60


def test_branches_share_their_files(daemon: Daemon, random_tokens: RandomTokens, tmp_path: Path) -> None:
    """A common beginning is written once, and each branch is found again, split where they part."""
    system = random_tokens(120, 0)
    for number in range(3):
        daemon.read(f"s{number}", np.concatenate([system, random_tokens(40, 1 + number)]), 120)
    daemon.restart(saved=True)
    kv_tokens = sum(node.end - node.start for node in daemon.manager.cache.kept.tree.nodes())
    assert kv_tokens == 120 + 3 * 40
    assert daemon.read("new", np.concatenate([system, random_tokens(10, 99)]), 120).num_reused_tokens == 120


def test_the_disk_budget_is_kept(
    make_backend: MakeBackend, hybrid_model_path: Path, tmp_path: Path, random_tokens: RandomTokens
) -> None:
    """The least useful files go, and the rest still works after a restart."""
    backend = make_backend(hybrid_model_path, flash_attention=False, max_states=NUM_STATES)
    daemon = Daemon(backend, tmp_path / "kv", disk_bytes=3 << 20)
    for number in range(8):
        daemon.read(f"s{number}", random_tokens(150, number), 60)
        while daemon.manager.idle_work():
            pass
        files = [file for file in (tmp_path / "kv").rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in files) <= (3 << 20) + 8192 * len(files)
    daemon.restart(saved=False)
    reused = [daemon.read(f"s{n}", np.concatenate([random_tokens(150, n), [5]]), 60) for n in range(8)]
    assert sum(prepared.num_reused_tokens == 150 for prepared in reused) >= 1


def test_host_memory_may_be_too_small_for_all_that_is_to_be_saved(
    make_backend: MakeBackend, hybrid_model_path: Path, tmp_path: Path, random_tokens: RandomTokens
) -> None:
    """Room for two states: copies pass through it one after another, the work ends, and a kill loses nothing."""
    backend = make_backend(hybrid_model_path, flash_attention=False, max_states=NUM_STATES)
    host_bytes = int(2.5 * backend.info.state_bytes)
    daemon = Daemon(backend, tmp_path / "kv", host_bytes=host_bytes)
    prompts = [random_tokens(150, number) for number in range(6)]
    for number, prompt in enumerate(prompts):
        daemon.read(f"s{number}", prompt, 60)
    num_ticks = 0
    while daemon.manager.idle_work():
        num_ticks += 1
        assert num_ticks < 5000
    assert daemon.manager.pending_spill_bytes == 0
    daemon.restart(saved=False)
    reused = [daemon.read(f"s{n}", np.concatenate([prompt, [5]]), 60) for n, prompt in enumerate(prompts)]
    assert sum(prepared.num_reused_tokens == 150 for prepared in reused) == 6


def test_pure_attention_comes_back_as_well(
    make_backend: MakeBackend, attention_model_path: Path, tmp_path: Path, random_tokens: RandomTokens
) -> None:
    """There are no states; any point of a stored path can be gone on from."""
    daemon = Daemon(make_backend(attention_model_path, max_states=NUM_STATES), tmp_path / "kv")
    prompt = random_tokens(150, 1)
    daemon.read("a", prompt, 60)
    daemon.restart(saved=True)
    assert daemon.read("b", np.concatenate([prompt[:100], random_tokens(20, 2)]), 60).num_reused_tokens == 100


def test_a_disk_that_is_full_takes_no_more_and_loses_nothing(daemon: Daemon, random_tokens: RandomTokens) -> None:
    """After a failed write what is on disk stays there, and comes back after a restart."""
    first = random_tokens(150, 1)
    daemon.read("a", first, 60)
    while daemon.manager.idle_work():
        pass
    store = daemon.manager.tiers.store
    assert store is not None
    store._folder = Path("/dev/null/nowhere")
    daemon.read("b", random_tokens(150, 2), 60)
    while daemon.manager.idle_work():
        pass
    assert store.is_broken
    daemon.restart(saved=False)
    assert daemon.read("a", np.concatenate([first, random_tokens(5, 3)]), 60).num_reused_tokens == 150


def test_a_copy_that_is_gone_is_evaluated_again(daemon: Daemon, random_tokens: RandomTokens) -> None:
    """Its file was deleted behind our back: no sequence id is lost, and the books balance."""
    prompt = random_tokens(150, 1)
    for _ in range(NUM_STATES + 2):
        daemon.read("a", prompt, 60)
        daemon.restart(saved=True)
        for file in daemon._folder.rglob("*"):
            if file.is_file():
                file.unlink()
        assert daemon.read("a", np.concatenate([prompt, random_tokens(5, 3)]), 60).num_reused_tokens == 0
