"""What of a prompt is reused, what is kept for the next one, and who has to go."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.engine.backend import Backend, DecodeError, NoBranchError
from qcn_agent.engine.generator import FloatArray, GenerationRequest, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.session import Prepared, SessionManager, Step, ladder
from qcn_agent.errors import ContextFullError
from tests.engine.walk import TOLERANCE

RandomTokens = Callable[[int, int], IntArray]
MakeBackend = Callable[..., LlamaBackend]
RequestFor = Callable[..., GenerationRequest]
Replay = Callable[..., FloatArray]
MakeReader = Callable[..., "Reader"]


class Reader:
    """Reads prompts the way the scheduler does, and counts."""

    def __init__(self, backend: Backend, num_states: int = 9, host_bytes: int = 0) -> None:
        self.backend = backend
        self.manager = SessionManager(backend, num_states, host_bytes=host_bytes)
        self.num_evaluated = 0

    def read(self, request: GenerationRequest) -> Prepared:
        """Bring the whole prompt into the session; integrity holds afterwards."""
        prepared = self.manager.prepare(request)
        session = prepared.session
        self.num_evaluated = 0
        while len(session.ledger) < len(request.prompt):
            begin = len(session.ledger)
            self._snapshot_if_due(request, prepared)
            stops = [cut for cut in prepared.cuts if cut > begin]
            end = min([begin + 64, len(request.prompt), *stops[:1]])
            self.manager.extend([Step(session, request.prompt[begin:end], end == len(request.prompt))])
            self.num_evaluated += end - begin
        if self.num_evaluated:
            self.manager.snapshot(session, is_anchor=False, logits=self.backend.logits())
        self.manager.check_integrity()
        self.manager.release(session)
        self.manager.check_integrity()
        return prepared

    def _snapshot_if_due(self, request: GenerationRequest, prepared: Prepared) -> None:
        position = len(prepared.session.ledger)
        if position in prepared.cuts:
            self.manager.snapshot(prepared.session, is_anchor=position in request.anchors)

    def positions(self, name: str) -> list[int]:
        """Where the session's snapshots are."""
        parks = self.manager.cache.kept.parks.values()
        return sorted(node.end for node in parks if name in node.sessions)


@pytest.fixture
def reader(backend: LlamaBackend) -> Reader:
    """Over the embedded model."""
    return Reader(backend)


@pytest.fixture
def make_hybrid(make_backend: MakeBackend, hybrid_model_path: Path) -> MakeReader:
    """`make_hybrid(num_states, host_bytes)`: over a random float32 model, whose logits hardly feel the cells' order."""

    def make(num_states: int, host_bytes: int = 0) -> Reader:
        backend = make_backend(hybrid_model_path, flash_attention=False, max_states=num_states)
        return Reader(backend, num_states, host_bytes)

    return make


@pytest.fixture
def hybrid(make_hybrid: MakeReader) -> Reader:
    """Over the random float32 model."""
    return make_hybrid(9)


@pytest.fixture
def replay_hybrid(replay: Replay, hybrid_model_path: Path) -> Replay:
    """`replay` with the random float32 model."""
    return lambda tokens, splits: replay(tokens, splits, path=hybrid_model_path, flash_attention=False)


def _assert_close(reader: Reader, prepared: Prepared, replay: Replay) -> None:
    """Right up to the order of sums, which follows the order of KV cells; a wrong token gives 0.1 to 5."""
    ledger = prepared.session.ledger
    expected = replay(ledger.tokens, ledger.splits)
    assert np.abs(reader.backend.logits() - expected).max() < TOLERANCE * expected.std()


def test_a_longer_prompt_evaluates_only_what_is_new(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """An exact extension of the ledger costs its new tokens and nothing else."""
    tokens = random_tokens(300, 1)
    reader.read(request_for(tokens[:200]))
    assert reader.read(request_for(tokens)).num_reused_tokens == 200
    assert reader.num_evaluated == 100


def test_the_same_prompt_again_evaluates_nothing(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A retry needs logits: they are kept with the state. A prompt that ends elsewhere on the path has none."""
    tokens = random_tokens(150, 1)
    reader.read(request_for(tokens))
    logits = reader.backend.logits()
    prepared = reader.read(request_for(tokens))
    assert (prepared.num_reused_tokens, reader.num_evaluated) == (150, 0)
    assert prepared.logits is not None
    assert np.array_equal(prepared.logits, logits)
    prepared = reader.read(request_for(tokens[:100]))
    assert (prepared.num_reused_tokens, prepared.logits) == (64, None)


def test_a_retry_from_a_boundary_evaluates_only_what_lies_beyond(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A different turn after a message boundary starts from the boundary's snapshot."""
    tokens, other = random_tokens(250, 1), random_tokens(50, 2)
    reader.read(request_for(tokens, boundaries=(100, 180)))
    prepared = reader.read(request_for(np.concatenate([tokens[:180], other]), boundaries=(100, 180)))
    assert (prepared.num_reused_tokens, reader.num_evaluated) == (180, 50)


def test_where_paths_part_a_snapshot_is_taken(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """The first divergence at an unforeseen point costs a re-read from the ladder, the second one there does not."""
    tokens = random_tokens(200, 1)
    reader.read(request_for(tokens, boundaries=(50,)))
    reader.read(request_for(np.concatenate([tokens[:120], random_tokens(40, 2)]), boundaries=(50,)))
    assert reader.num_evaluated == 120 - 64 + 40
    reader.read(request_for(np.concatenate([tokens[:120], random_tokens(40, 3)]), boundaries=(50,)))
    assert reader.num_evaluated == 40


def test_a_reused_prefix_gives_bitwise_the_logits_of_a_replay(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens, replay: Replay
) -> None:
    """After two divergences the logits equal those of a fresh context that makes the ledger's own calls."""
    tokens = random_tokens(260, 1)
    for seed, length in ((2, 180), (3, 100)):
        prompt = np.concatenate([tokens[:length], random_tokens(60, seed)])
        prepared = reader.read(request_for(prompt, boundaries=(100, 180)))
    ledger = prepared.session.ledger
    assert prepared.num_reused_tokens == 100
    assert np.array_equal(reader.backend.logits(), replay(ledger.tokens, ledger.splits))


def test_a_second_session_starts_from_the_first_one_s_snapshot(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens, replay: Replay
) -> None:
    """Two conversations with the same system prompt read it once, and do not disturb one another."""
    system, one, two, more = (random_tokens(80, seed) for seed in (1, 2, 3, 4))
    first = reader.read(request_for(np.concatenate([system, one]), boundaries=(80,), session="a"))
    second = reader.read(request_for(np.concatenate([system, two]), boundaries=(80,), session="b"))
    assert (second.num_reused_tokens, reader.num_evaluated) == (80, 80)
    assert np.array_equal(reader.backend.logits(), replay(second.session.ledger.tokens, second.session.ledger.splits))
    reader.read(request_for(np.concatenate([system, one, more]), boundaries=(80,), session="a"))
    assert reader.num_evaluated == 80
    assert np.array_equal(reader.backend.logits(), replay(first.session.ledger.tokens, first.session.ledger.splits))


def test_a_second_session_may_continue_the_live_end_of_the_first(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens, replay: Replay
) -> None:
    """Without any snapshot there, the end of another session is still a starting point."""
    tokens = random_tokens(140, 1)
    reader.read(request_for(tokens[:90], session="a"))
    prepared = reader.read(request_for(tokens, session="b"))
    assert prepared.num_reused_tokens == 90
    ledger = prepared.session.ledger
    assert np.array_equal(reader.backend.logits(), replay(ledger.tokens, ledger.splits))


def test_branches_of_one_session_do_not_disturb_each_other(
    hybrid: Reader, request_for: RequestFor, random_tokens: RandomTokens, replay_hybrid: Replay
) -> None:
    """Going back and forth between two continuations evaluates each of them once, and both stay right."""
    tokens = random_tokens(100, 1)
    paths = [np.concatenate([tokens, random_tokens(80, seed)]) for seed in (2, 3)]
    for path in paths:
        hybrid.read(request_for(path, boundaries=(100,)))
    for turn in range(3):
        for number, path in enumerate(paths):
            paths[number] = np.concatenate([path, random_tokens(20, 10 * turn + number)])
            prepared = hybrid.read(request_for(paths[number], boundaries=(100, len(path))))
            assert hybrid.num_evaluated == 20
            _assert_close(hybrid, prepared, replay_hybrid)


def test_conversations_that_left_the_device_come_back_from_the_host(
    make_hybrid: MakeReader, request_for: RequestFor, random_tokens: RandomTokens, replay_hybrid: Replay
) -> None:
    """With six states on the device and eight conversations, each turn evaluates only what is new."""
    reader = make_hybrid(6, 64 << 20)
    system = random_tokens(80, 0)
    paths = [np.concatenate([system, random_tokens(90, 1 + seed)]) for seed in range(8)]
    for number, path in enumerate(paths):
        reader.read(request_for(path, boundaries=(80,), session=f"s{number}"))
    for turn in range(2):
        for number, path in enumerate(paths):
            paths[number] = np.concatenate([path, random_tokens(30, 100 * turn + number)])
            prepared = reader.read(request_for(paths[number], boundaries=(80,), session=f"s{number}"))
            assert reader.num_evaluated == 30
            _assert_close(reader, prepared, replay_hybrid)
    assert reader.manager.tiers.num_restored_host_tokens > 0
    assert reader.manager.tiers.arena.num_bytes <= 64 << 20


def test_without_host_memory_the_least_useful_conversation_goes(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """The one that was used just now stays, however many come."""
    for number in range(12):
        prompt = random_tokens(40, number)
        reader.read(request_for(prompt, session=f"s{number}"))
        reader.read(request_for(np.concatenate([prompt, random_tokens(9, 50 + number)]), session=f"s{number}"))
        assert reader.num_evaluated == 9
    assert len(reader.manager.sessions) <= 9


def test_states_stay_within_their_number_and_keep_the_first_boundary(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """After many turns the latest ones and the anchor are there."""
    tokens = random_tokens(500, 1)
    for end in range(50, 500, 50):
        reader.read(request_for(tokens[:end], boundaries=(20, *range(40, end, 50))))
    positions = reader.positions("s")
    assert reader.manager.cache.num_device_states <= 9
    assert positions[0] == 20
    assert positions[-1] == 450


def test_as_many_anchors_as_are_named_get_a_state(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Of the boundaries between the anchors and the latest four none."""
    boundaries = (20, 40, *range(60, 240, 20))
    request = request_for(random_tokens(260, 1), boundaries=boundaries, num_anchors=2)

    cuts = reader.manager.prepare(request).cuts

    assert request.anchors == (20, 40)
    assert {20, 40, 160, 180, 200, 220} <= set(cuts)
    assert not {60, 80} & set(cuts)


def test_every_anchor_outlives_its_conversation(
    make_hybrid: MakeReader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Dropped at once, before any idle work: another one begins where the last anchor lies, not at other boundaries."""
    reader = make_hybrid(9, 64 << 20)
    asked = request_for(random_tokens(150, 1), boundaries=(40, 80, 120), num_anchors=2)
    reader.read(asked)
    reader.manager.drop("s")

    prepared = reader.read(replace(asked, session="t"))

    assert prepared.num_reused_tokens == 80


def test_four_states_are_enough_to_work_with(
    make_backend: MakeBackend, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """More anchored conversations than states: each goes on from its tail or, at worst, its anchor."""
    reader = Reader(make_backend(max_states=4), 4)
    for name in ("a", "b", "c", "d", "e"):
        prompt = random_tokens(60, ord(name))
        reader.read(request_for(prompt, boundaries=(30,), session=name))
        assert reader.read(request_for(prompt, boundaries=(30,), session=name)).num_reused_tokens >= 30
        longer = np.concatenate([prompt, random_tokens(5, 7)])
        assert reader.read(request_for(longer, boundaries=(30,), session=name)).num_reused_tokens == 60


def test_idle_sessions_make_room(
    make_backend: MakeBackend, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A prompt that fits the context alone is read even when others fill it."""
    reader = Reader(make_backend(n_ctx=512))
    for name in ("a", "b"):
        reader.read(request_for(random_tokens(200, ord(name)), session=name))
    reader.read(request_for(random_tokens(400, 9), session="c"))
    assert [session.name for session in reader.manager.sessions] == ["c"]


def test_a_session_alone_in_a_full_cache_fails_intact(
    make_backend: MakeBackend, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """ContextFullError, and what was read before is still usable."""
    reader = Reader(make_backend(n_ctx=256))
    request = request_for(random_tokens(300, 1))
    prepared = reader.manager.prepare(request)
    for begin in range(0, 256, 64):
        reader.manager.extend([Step(prepared.session, request.prompt[begin : begin + 64], False)])
    with pytest.raises(ContextFullError, match="full"):
        reader.manager.extend([Step(prepared.session, request.prompt[256:], True)])
    reader.manager.release(prepared.session)
    reader.manager.check_integrity()
    more = np.concatenate([request.prompt[:256], random_tokens(1, 2)])
    assert reader.manager.prepare(request_for(more)).num_reused_tokens == 256


def test_a_corrupt_session_is_put_back_to_its_last_snapshot(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens, replay: Replay
) -> None:
    """After a call that llama.cpp abandoned half-way, the next prompt reuses the good part and is exact."""
    assert isinstance(reader.backend, LlamaBackend)
    tokens = random_tokens(200, 1)
    reader.read(request_for(tokens[:130], boundaries=(100,)))
    prepared = reader.manager.prepare(request_for(tokens, boundaries=(100,)))
    calls = iter(range(10_000))
    abort = api.ggml_abort_callback(lambda _: next(calls) > 40)
    api.llama_set_abort_callback(reader.backend._context, abort, None)
    with pytest.raises(DecodeError):
        reader.manager.extend([Step(prepared.session, tokens[130:190], True)])
    api.llama_set_abort_callback(reader.backend._context, api.ggml_abort_callback(0), None)
    reader.manager.recover(prepared.session)
    reader.manager.release(prepared.session)
    reader.manager.check_integrity()
    prepared = reader.read(request_for(tokens))
    assert prepared.num_reused_tokens == 130
    ledger = prepared.session.ledger
    assert np.array_equal(reader.backend.logits(), replay(ledger.tokens, ledger.splits))


def test_a_corrupt_session_without_snapshots_is_emptied(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """There is nothing to go back to, so the next prompt is read from the start."""
    prepared = reader.manager.prepare(request_for(random_tokens(100, 1)))
    reader.manager.extend([Step(prepared.session, random_tokens(50, 1), False)])
    reader.manager.recover(prepared.session)
    reader.manager.check_integrity()
    assert len(prepared.session.ledger) == 0


def test_a_dropped_session_leaves_nothing(reader: Reader, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """Its sequence and parks are free again; an unknown name is no error."""
    prompt = random_tokens(80, 1)
    reader.read(request_for(prompt, boundaries=(20, 40)))
    reader.manager.drop("s")
    reader.manager.drop("s")
    reader.manager.check_integrity()
    assert reader.manager.sessions == ()
    assert reader.read(request_for(prompt)).num_reused_tokens == 0


def test_a_session_dropped_while_it_runs_goes_when_it_ends(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Its generation is not disturbed, and afterwards nothing of it is left."""
    prompt = random_tokens(80, 1)
    prepared = reader.manager.prepare(request_for(prompt))
    reader.manager.extend([Step(prepared.session, prompt[:60], False)])
    reader.manager.drop("s")
    reader.manager.extend([Step(prepared.session, prompt[60:79], True)])
    reader.manager.release(prepared.session)
    reader.manager.check_integrity()
    assert reader.manager.prepare(request_for(prompt)).num_reused_tokens == 0


def test_a_dropped_session_leaves_what_others_share(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """The anchor and another session's path survive."""
    system = random_tokens(60, 0)
    first, second = (np.concatenate([system, random_tokens(50, seed)]) for seed in (1, 2))
    reader.read(request_for(first, boundaries=(60,), session="a"))
    reader.read(request_for(second, boundaries=(60,), session="b"))
    reader.manager.drop("a")
    reader.manager.check_integrity()
    assert reader.read(request_for(second, boundaries=(60,), session="b")).num_reused_tokens == 110
    assert reader.read(request_for(first, boundaries=(60,), session="c")).num_reused_tokens == 60


def test_no_branch_is_taken_from_a_running_generation(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """When half of the states run, the next request has to wait; when one ends, it starts."""
    running = [reader.manager.prepare(request_for(random_tokens(20, n), session=f"s{n}")) for n in range(4)]
    for prepared in running:
        reader.manager.extend([Step(prepared.session, random_tokens(10, 1), False)])
    with pytest.raises(NoBranchError):
        reader.manager.prepare(request_for(random_tokens(20, 9), session="late"))
    reader.manager.release(running[0].session)
    reader.manager.check_integrity()
    assert reader.manager.prepare(request_for(random_tokens(20, 9), session="late")).num_reused_tokens == 0


def test_pure_attention_reuses_every_token(
    make_backend: MakeBackend, attention_model_path: Path, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Any divergence costs only what lies beyond it, without snapshots, in one session and across two."""
    reader = Reader(make_backend(path=attention_model_path))
    tokens = random_tokens(200, 1)
    reader.read(request_for(tokens, boundaries=(50,)))
    prompt = np.concatenate([tokens[:123], random_tokens(30, 2)])
    assert reader.read(request_for(prompt)).num_reused_tokens == 123
    assert reader.read(request_for(tokens[:110], session="t")).num_reused_tokens == 109
    assert reader.positions("s") == []


def test_random_turns_cost_no_more_than_the_rules_allow(
    hybrid: Reader, request_for: RequestFor, random_tokens: RandomTokens, replay_hybrid: Replay
) -> None:
    """A walk of extensions, retries and branches over three sessions stays right, and always reuses its anchor."""
    random = np.random.default_rng(5)
    system = random_tokens(40, 0)
    paths = dict.fromkeys("abc", system)
    seen: set[str] = set()
    for step in range(40):
        name = str(random.choice(list("abc")))
        keep = int(random.integers(40, len(paths[name]) + 1))
        paths[name] = np.concatenate([paths[name][:keep], random_tokens(int(random.integers(1, 60)), step)])
        prepared = hybrid.read(request_for(paths[name], boundaries=(40, keep), session=name))
        assert prepared.num_reused_tokens >= 40 or not seen
        assert prepared.num_reused_tokens + hybrid.num_evaluated == len(paths[name])
        seen.add(name)
    ledger = prepared.session.ledger
    assert np.array_equal(ledger.tokens, paths[name])
    _assert_close(hybrid, prepared, replay_hybrid)


@pytest.mark.parametrize(("begin", "end"), [(0, 100), (0, 64), (700, 6000), (0, 131072), (5, 6)])
def test_the_ladder_is_dense_near_the_end(begin: int, end: int) -> None:
    """Rungs are multiples of the step inside the prompt; a gap is at most a step and 15 % of the way back to it."""
    rungs = ladder(begin, end, 64)
    assert all(begin < rung < end and rung % 64 == 0 for rung in rungs)
    for above, below in itertools.pairwise([end, *rungs, begin]):
        assert above - below <= 128 + 0.18 * (end - below)
    assert len(rungs) < 60
