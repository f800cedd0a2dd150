"""After a restart a conversation comes back by reading, not by evaluating."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.engine.arena import Identity
from qcn_agent.engine.backend import Bytes
from qcn_agent.engine.disk_store import RETRY_S, DiskStore
from qcn_agent.engine.generator import FloatArray, GenerationRequest, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.ownership import forget_files
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
        self.come_back()

    def come_back(self) -> None:
        """Start with an empty context."""
        for seq_id in range(NUM_STATES + 1):
            self.backend.drop(seq_id)
        self.manager = self._start()
        self.manager.check_integrity()

    def save(self) -> None:
        """Wait until nothing is left to do; it comes to an end."""
        for _ in range(5000):
            if not self.manager.idle_work():
                return
        raise AssertionError("idle work without an end")

    def read(self, session: str, prompt: IntArray, boundary: int, project: str = "") -> Prepared:
        """One turn."""
        request = GenerationRequest(session, prompt, 1, boundaries=(boundary,), project=project)
        prepared = self.manager.prepare(request)
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


def test_a_lowered_budget_holds_from_the_start(
    make_backend: MakeBackend, hybrid_model_path: Path, tmp_path: Path, random_tokens: RandomTokens
) -> None:
    """Without a byte being written, and what is left is of use."""
    backend = make_backend(hybrid_model_path, flash_attention=False, max_states=NUM_STATES)
    full = Daemon(backend, tmp_path / "kv")
    for seed in range(4):
        full.read(f"s{seed}", random_tokens(150, seed), 40)
    full.restart(saved=True)
    budget = full.manager.num_disk_bytes // 2
    small = Daemon(backend, tmp_path / "kv", disk_bytes=budget, host_bytes=0)
    assert 0 < small.manager.num_disk_bytes <= budget
    assert sum(file.stat().st_size for file in (tmp_path / "kv").rglob("*") if file.is_file()) <= 1.1 * budget
    small.manager.check_integrity()


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


def test_a_disk_that_has_room_again_is_written_again(daemon: Daemon, random_tokens: RandomTokens) -> None:
    """After a while, and with it what had waited."""
    store = daemon.manager.tiers.store
    assert store is not None
    now = 0.0
    store._clock = lambda: now
    folder, store._folder = store._folder, Path("/dev/null/nowhere")
    prompt = random_tokens(150, 1)
    daemon.read("a", prompt, 60)
    while daemon.manager.idle_work():
        pass
    store._folder = folder
    assert not daemon.manager.idle_work()
    now = RETRY_S
    while daemon.manager.idle_work():
        pass
    daemon.restart(saved=False)
    assert daemon.read("a", np.concatenate([prompt, random_tokens(5, 3)]), 60).num_reused_tokens == 150


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


def test_what_is_being_read_is_saved_as_far_as_it_came(daemon: Daemon, random_tokens: RandomTokens) -> None:
    """An orderly end in the middle of a prompt, and of an answer: the next start reads what was evaluated."""
    prompt, answer = random_tokens(150, 1), random_tokens(9, 2)
    reading = daemon.manager.prepare(GenerationRequest("a", prompt, 1)).session
    for begin in (0, 50):
        daemon.manager.extend([Step(reading, prompt[begin : begin + 50])])
    talking = daemon.manager.prepare(GenerationRequest("b", answer, 1)).session
    for begin in range(8):
        daemon.manager.extend([Step(talking, answer[begin : begin + 1])])
    daemon.restart(saved=True)
    assert daemon.read("c", prompt, 60).num_reused_tokens == 100
    assert daemon.read("d", answer, 60).num_reused_tokens == 8
    assert daemon.manager.tiers.num_restored_disk_tokens == 108


def test_nothing_is_done_after_the_end(daemon: Daemon, random_tokens: RandomTokens) -> None:
    """A second close, when the model may be gone, finds nothing to do even if the first had no time."""
    daemon.read("a", random_tokens(150, 1), 60)
    daemon.manager.close(timeout_s=0.0)
    daemon.backend.close()
    daemon.manager.close()


def test_a_stuck_write_is_left_to_itself(
    daemon: Daemon, random_tokens: RandomTokens, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk does not answer: the end waits so long and no longer, and says what is lost."""
    persistence, store = daemon.manager.persistence, daemon.manager.tiers.store
    assert persistence is not None
    assert store is not None
    daemon.read("a", random_tokens(150, 1), 60)
    gate, write = threading.Event(), store.write

    def stuck(identity: Identity, data: Bytes, owners: frozenset[str] = frozenset()) -> Path | None:
        gate.wait()
        return write(identity, data, owners)

    store.write = stuck  # type: ignore[method-assign]  # no disk can be made to hang at will
    while persistence._job is None:
        persistence.tick()
    begin = time.monotonic()
    assert not persistence.close(timeout_s=0.3)
    assert time.monotonic() - begin < 3.0
    assert "lost" in caplog.text
    assert persistence.close()
    gate.set()


def test_a_full_disk_and_a_full_host_come_to_rest(
    make_backend: MakeBackend, hybrid_model_path: Path, tmp_path: Path, random_tokens: RandomTokens
) -> None:
    """Copies that can't be written don't displace each other for ever; the most valuable stay."""
    backend = make_backend(hybrid_model_path, flash_attention=False, max_states=NUM_STATES)
    daemon = Daemon(backend, tmp_path / "kv", host_bytes=int(2.5 * backend.info.state_bytes))
    store, arena = daemon.manager.tiers.store, daemon.manager.tiers.arena
    assert store is not None
    store.num_bytes = store.max_bytes  # and nothing of it may go
    for number in range(6):
        daemon.read(f"s{number}", random_tokens(150, number), 60)
    daemon.save()
    assert arena.num_states == 2
    before = {blob for node in daemon.manager.cache.kept.stored for blob in (node.kv, node.state)}
    daemon.save()
    assert {blob for node in daemon.manager.cache.kept.stored for blob in (node.kv, node.state)} == before


def test_a_forgotten_project_leaves_what_others_need(
    daemon: Daemon, random_tokens: RandomTokens, tmp_path: Path
) -> None:
    """Also where a path of another parts in the middle of a stretch that was saved before; and after two starts."""
    head, mine = random_tokens(60, 0), random_tokens(90, 1)
    theirs = np.concatenate([mine[:37], random_tokens(50, 2)])
    first, second = np.concatenate([head, mine]), np.concatenate([head, theirs])
    daemon.read("a", first, 60, "aa")
    daemon.save()
    daemon.restart(saved=True)
    daemon.read("b", second, 60, "bb")
    daemon.restart(saved=True)
    daemon.restart(saved=True)
    assert forget_files(tmp_path / "kv", "aa") > 0
    daemon.come_back()
    assert daemon.read("c", np.concatenate([second, [5]]), 60, "bb").num_reused_tokens == len(second)
    assert daemon.read("d", first, 60, "bb").num_reused_tokens <= 60 + 37
    left = b"".join(file.read_bytes() for file in (tmp_path / "kv").rglob("*") if file.is_file())
    assert first[60 + 37 :].tobytes()[:32] not in left
    assert forget_files(tmp_path / "kv", "bb") > 0
    assert not [file for file in (tmp_path / "kv").rglob("*") if file.is_file()]


def test_what_two_projects_share_stays_until_both_are_forgotten(
    daemon: Daemon, random_tokens: RandomTokens, tmp_path: Path
) -> None:
    """The system prompt, which the one wrote and the other only came through."""
    head = random_tokens(90, 0)
    daemon.read("a", np.concatenate([head, random_tokens(70, 1)]), 90, "aa")
    daemon.save()
    daemon.read("b", np.concatenate([head, random_tokens(70, 2)]), 90, "bb")
    daemon.manager.drop("b")
    daemon.restart(saved=False)
    forget_files(tmp_path / "kv", "aa")
    daemon.come_back()
    assert daemon.read("c", np.concatenate([head, random_tokens(70, 3)]), 90, "cc").num_reused_tokens == 90


@pytest.mark.parametrize("num_others", [0, 2, 5])
def test_one_project_does_not_push_out_another(
    make_backend: MakeBackend,
    hybrid_model_path: Path,
    tmp_path: Path,
    random_tokens: RandomTokens,
    num_others: int,
) -> None:
    """However much it reads: beyond half of the disk it takes what is free, and then the room of its own files."""
    backend = make_backend(hybrid_model_path, flash_attention=False, max_states=NUM_STATES)
    limit = 12 * backend.info.state_bytes
    daemon = Daemon(backend, tmp_path / "kv", disk_bytes=limit)
    others = {f"o{number}": random_tokens(70, 90 + number) for number in range(num_others)}
    for name, prompt in others.items():
        daemon.read(name, prompt, 0, "bb")
    daemon.save()
    for number in range(20):
        daemon.read(f"s{number}", random_tokens(70, number), 0, "aa")
        daemon.save()
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "kv").rglob("*") if file.is_file()}
    mine = sum(size for name, size in sizes.items() if name.endswith(".aa"))
    assert mine > 0.4 * limit
    assert sum(sizes.values()) <= limit + 8192 * len(sizes)
    daemon.restart(saved=False)
    for name, prompt in others.items():
        assert daemon.read(name, np.concatenate([prompt, [5]]), 0, "bb").num_reused_tokens == 70
    assert daemon.read("s19", np.concatenate([random_tokens(70, 19), [5]]), 0, "aa").num_reused_tokens == 70
