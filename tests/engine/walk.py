"""Random operations on the prefix cache, against an oracle.

The oracle is a replay: a second context that is emptied and makes the decode calls of the branch's ledger again. It
also knows every path that was ever read, so nothing can be "reused" that never was.

The expert router decides by comparing sums, so a near tie can fall either way with rounding: the logits of the random
model then differ by 3e-3 of their standard deviation between replays themselves (seen: one call a token against any
other size, once in 6,000 comparisons). Then the nearest of several replays counts; it may not happen often.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qcn_agent.config import ModelConfig
from qcn_agent.engine.backend import DecodeError, NoBranchError
from qcn_agent.engine.disk_store import DiskStore
from qcn_agent.engine.generator import FloatArray, GenerationRequest, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.llama_model import load_model
from qcn_agent.engine.ownership import forget_files
from qcn_agent.engine.residency import Branch
from qcn_agent.engine.session import Prepared, SessionManager, Step
from qcn_agent.errors import ContextFullError
from tests.engine.replay import other_replays, replay

LENGTHS = (1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 90)  # around the convolution's width and the call size
MAX_PATH = 400
TOLERANCE = 2e-3  # of the standard deviation of the logits; one wrong token gives 0.1 to 5
MAX_NEAR_TIES = 0.01  # of all comparisons


OPERATIONS = (
    ("read", 0.25),
    ("retry", 0.1),
    ("roll_back", 0.15),
    ("fork", 0.1),
    ("cancel", 0.08),
    ("fail", 0.08),
    ("drop", 0.04),
    ("spill", 0.08),
    ("evict", 0.04),
    ("overlap", 0.08),
    ("write", 0.2),  # these three only with a disk
    ("restart", 0.03),
    ("damage", 0.02),
)


@dataclass
class Tally:
    """What the walk saw."""

    operations: Counter[str] = field(default_factory=Counter)
    num_compared: int = 0
    num_bitwise: int = 0
    num_near_ties: int = 0
    worst: float = 0.0
    num_evaluated: int = 0
    num_reused: int = 0


class Walk:
    """A random walk over `manager`; every prompt's last logits are compared with the oracle's."""

    def __init__(
        self, backend: LlamaBackend, oracle: LlamaBackend, seed: int, make_manager: Callable[[], SessionManager]
    ) -> None:
        self.manager = make_manager()
        self.tally = Tally()
        self._make_manager = make_manager
        self._backend = backend
        self._oracle = oracle
        self._random = np.random.default_rng(seed)
        self._system = self._tokens(40)
        self._paths: dict[str, IntArray] = {f"s{number}": self._system for number in range(7)}
        self._waiting: list[tuple[Prepared, GenerationRequest]] = []

    def step(self) -> None:
        """Do one operation, then check the books."""
        chances = OPERATIONS if self.manager.persistence is not None else OPERATIONS[:-3]
        weights = np.array([weight for _, weight in chances])
        name = str(self._random.choice([name for name, _ in chances], p=weights / weights.sum()))
        self.tally.operations[name] += 1
        session = str(self._random.choice(list(self._paths)))
        getattr(self, f"_{name}")(session)
        self.manager.check_integrity()

    def _read(self, session: str) -> None:
        self._run(session, np.concatenate([self._paths[session], self._tokens()]))

    def _retry(self, session: str) -> None:
        self._run(session, self._paths[session])

    def _roll_back(self, session: str) -> None:
        path = self._paths[session]
        keep = int(self._random.integers(1, len(path) + 1))
        self._run(session, np.concatenate([path[:keep], self._tokens()]))

    def _fork(self, session: str) -> None:
        source = self._paths[str(self._random.choice(list(self._paths)))]
        keep = int(self._random.integers(1, len(source) + 1))
        self._run(session, np.concatenate([source[:keep], self._tokens()]))

    def _cancel(self, session: str) -> None:
        request = self._request(session, np.concatenate([self._paths[session], self._tokens(150)]))
        prepared = self.manager.prepare(request)
        for _ in range(int(self._random.integers(0, 3))):
            self._chunk(prepared, request)
        self.manager.release(prepared.session)

    def _fail(self, session: str) -> None:
        request = self._request(session, np.concatenate([self._paths[session], self._tokens()]))
        prepared = self.manager.prepare(request)
        calls, limit = iter(range(100_000)), int(self._random.integers(1, 300))
        abort = api.ggml_abort_callback(lambda _: next(calls) > limit)
        api.llama_set_abort_callback(self._backend._context, abort, None)
        try:
            while len(prepared.session.ledger) < len(request.prompt):
                self._chunk(prepared, request)
        except DecodeError:
            self.manager.recover(prepared.session)
        finally:
            api.llama_set_abort_callback(self._backend._context, api.ggml_abort_callback(0), None)
        self.manager.release(prepared.session)

    def _drop(self, session: str) -> None:
        self.manager.drop(session)
        self._paths[session] = self._system

    def _spill(self, _: str) -> None:
        self.manager.cache.write_behind()

    def _evict(self, _: str) -> None:
        self.manager.cache.make_room()

    def _write(self, _: str) -> None:
        for _piece in range(int(self._random.integers(1, 12))):
            self.manager.idle_work()

    def _restart(self, _: str) -> None:
        """Half of them are kills: what is pending is lost, and nothing else. Now and then a project is forgotten."""
        if self._random.random() < 0.5:
            self.manager.close()
        elif self.manager.persistence is not None:
            self.manager.persistence.close()
        self._waiting.clear()
        if self.manager.tiers.store is not None and self._random.random() < 0.3:
            self.tally.operations["forgotten files"] += forget_files(self.manager.tiers.store._folder, "p1")
        for seq_id in range(self._backend.n_seq_max):
            self._backend.drop(seq_id)
        self.manager = self._make_manager()

    def _damage(self, _: str) -> None:
        """Flip a bit somewhere in a file, or cut it."""
        files = [node.state.file for node in self.manager.cache.kept.stored if node.state and node.state.file]
        files += [node.kv.file for node in self.manager.cache.kept.stored if node.kv and node.kv.file]
        if files:
            file = files[int(self._random.integers(len(files)))]
            data = bytearray(file.read_bytes())
            data[int(self._random.integers(len(data)))] ^= 1 << int(self._random.integers(8))
            file.write_bytes(data[: len(data) if self._random.random() < 0.7 else len(data) // 2])

    def _overlap(self, session: str) -> None:
        """Leave a request half-way; the next operations run beside it, then it goes on."""
        if self._waiting:
            prepared, request = self._waiting.pop()
            self._finish(prepared, request)
            return
        request = self._request(session, np.concatenate([self._paths[session], self._tokens()]))
        prepared = self.manager.prepare(request)
        self._chunk(prepared, request)
        self._waiting.append((prepared, request))

    def _run(self, session: str, prompt: IntArray) -> None:
        request = self._request(session, prompt[:MAX_PATH])
        try:
            prepared = self.manager.prepare(request)
        except NoBranchError:
            self.tally.operations["no branch"] += 1
            return
        self.tally.num_reused += prepared.num_reused_tokens
        assert np.array_equal(prepared.session.ledger.tokens, request.prompt[: prepared.num_reused_tokens])
        if prepared.logits is not None:
            self._compare(prepared.session, prepared.logits)
        self._finish(prepared, request)

    def _finish(self, prepared: Prepared, request: GenerationRequest) -> None:
        branch = prepared.session
        try:
            while len(branch.ledger) < len(request.prompt):
                self._chunk(prepared, request)
            for _ in range(int(self._random.integers(1, 6))):
                self.manager.extend([Step(branch, self._tokens(1), True)])
            self._compare(branch, self._backend.logits())
        except ContextFullError:
            self.tally.operations["full"] += 1
        self._paths[request.session] = branch.ledger.tokens.copy() if len(branch.ledger) else self._system
        self.manager.check_integrity()
        self.manager.release(branch)

    def _chunk(self, prepared: Prepared, request: GenerationRequest) -> None:
        branch = prepared.session
        begin = len(branch.ledger)
        if begin >= len(request.prompt):
            return
        if begin in prepared.cuts:
            self.manager.snapshot(branch, is_anchor=begin == len(self._system))
        stops = [cut for cut in prepared.cuts if cut > begin]
        end = min([begin + self._backend.n_batch, len(request.prompt), *stops[:1]])
        is_end = end == len(request.prompt)
        self.manager.extend([Step(branch, request.prompt[begin:end], is_end)])
        self.tally.num_evaluated += end - begin
        if is_end:
            self.manager.snapshot(branch, is_anchor=False, logits=self._backend.logits())

    def _compare(self, branch: Branch, got: FloatArray) -> None:
        ledger = branch.ledger
        difference = _difference(got, replay(self._oracle, ledger.tokens, ledger.splits))
        self.tally.num_compared += 1
        self.tally.num_bitwise += difference == 0
        if difference >= TOLERANCE:
            self.tally.num_near_ties += 1
            others = other_replays(self._oracle, ledger.tokens)
            difference = min(_difference(got, logits) for logits in others)
        self.tally.worst = max(self.tally.worst, difference)
        assert difference < TOLERANCE, f"logits differ by {difference:.4f} standard deviations"

    def _request(self, session: str, prompt: IntArray) -> GenerationRequest:
        prompt = prompt[:MAX_PATH]
        boundary = int(self._random.integers(1, len(prompt) + 1))
        project = f"p{int(session[1:]) % 3}"
        return GenerationRequest(session, prompt, 8, boundaries=(len(self._system), boundary), project=project)

    def _tokens(self, count: int | None = None) -> IntArray:
        length = count or int(self._random.choice(LENGTHS))
        return self._random.integers(300, 4000, length).astype(np.int32)


def _difference(got: FloatArray, expected: FloatArray) -> float:
    """The largest one, in standard deviations of the logits."""
    return float(np.abs(got - expected).max() / expected.std())


def walk(
    path: Path,
    num_operations: int,
    seed: int,
    *,
    num_states: int = 6,
    host_kib: int = 4096,
    full_copies: bool = False,
    disk: Path | None = None,
) -> Tally:
    """Make contexts over the model at `path` and walk. Raises AssertionError or EngineError at the first fault."""
    config = ModelConfig(n_ctx=1024, n_ubatch=64, n_threads=1, max_states=num_states, flash_attention=False)
    backends = [LlamaBackend(load_model(config, (path,)), config) for _ in range(2)]
    try:
        backends[0].full_copies = full_copies

        def make_manager() -> SessionManager:
            store = DiskStore(disk, path.name, 8 << 20) if disk is not None else None
            return SessionManager(backends[0], num_states, host_bytes=host_kib << 10, store=store)

        steps = Walk(backends[0], backends[1], seed, make_manager)
        for _ in range(num_operations):
            steps.step()
        steps.manager.close()
        assert steps.tally.num_near_ties <= 1 + MAX_NEAR_TIES * steps.tally.num_compared
        return steps.tally
    finally:
        for backend in backends:
            backend.close()
