"""What of a prompt is reused, what is kept for the next one, and who has to go."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.engine.backend import Backend, DecodeError
from qcn_agent.engine.generator import FloatArray, GenerationRequest, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.session import Prepared, SessionManager, Step
from qcn_agent.errors import ContextFullError, EngineError

RandomTokens = Callable[[int, int], IntArray]
MakeBackend = Callable[..., LlamaBackend]
RequestFor = Callable[..., GenerationRequest]
Replay = Callable[..., FloatArray]


class Reader:
    """Reads prompts the way the scheduler does, and counts."""

    def __init__(self, backend: Backend, max_sessions: int = 3, max_snapshots: int = 6) -> None:
        self.backend = backend
        self.manager = SessionManager(backend, max_sessions, max_snapshots)
        self.num_evaluated = 0

    def read(self, request: GenerationRequest) -> Prepared:
        """Bring the whole prompt into the session; integrity holds afterwards."""
        prepared = self.manager.prepare(request)
        session = prepared.session
        self.num_evaluated = 0
        try:
            self._read(request, prepared)
        finally:
            self.manager.release(session)
        self.manager.check_integrity()
        return prepared

    def _read(self, request: GenerationRequest, prepared: Prepared) -> None:
        session = prepared.session
        while len(session.ledger) < len(request.prompt):
            begin = len(session.ledger)
            self._snapshot_if_due(request, prepared)
            stops = [cut for cut in prepared.cuts if cut > begin]
            end = min([begin + 64, len(request.prompt), *stops[:1]])
            self.manager.extend([Step(session, request.prompt[begin:end], end == len(request.prompt))])
            self.num_evaluated += end - begin

    def _snapshot_if_due(self, request: GenerationRequest, prepared: Prepared) -> None:
        position = len(prepared.session.ledger)
        if position in prepared.cuts:
            self.manager.snapshot(prepared.session, is_anchor=position == min(request.boundaries, default=0))

    def positions(self, name: str) -> list[int]:
        """Where the session's snapshots are."""
        return [p.num_tokens for s in self.manager.sessions if s.name == name for p in s.snapshots]


@pytest.fixture
def reader(backend: LlamaBackend) -> Reader:
    """Over the embedded model."""
    return Reader(backend)


def test_a_longer_prompt_evaluates_only_what_is_new(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """An exact extension of the ledger costs its new tokens and nothing else."""
    tokens = random_tokens(300, 1)
    reader.read(request_for(tokens[:200]))
    assert reader.read(request_for(tokens)).num_reused_tokens == 200
    assert reader.num_evaluated == 100


def test_the_same_prompt_again_evaluates_one_token(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A retry needs logits, so the last token is evaluated again from the snapshot before it."""
    tokens = random_tokens(150, 1)
    reader.read(request_for(tokens))
    prepared = reader.read(request_for(tokens))
    assert (prepared.num_reused_tokens, reader.num_evaluated) == (149, 1)


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
    """The first divergence at an unforeseen point costs a re-read, the second one at the same point does not."""
    tokens = random_tokens(200, 1)
    reader.read(request_for(tokens, boundaries=(50,)))
    reader.read(request_for(np.concatenate([tokens[:120], random_tokens(40, 2)]), boundaries=(50,)))
    assert reader.num_evaluated == 70 + 40
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


def test_a_session_keeps_its_own_path_for_a_small_gain(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Another session reaches 20 tokens further: not worth giving up one's own snapshots; 100 tokens are."""
    tokens = random_tokens(260, 1)
    reader.read(request_for(tokens[:130], boundaries=(40, 100), session="a"))
    for end, expected in ((120, 100), (200, 200)):
        reader.read(request_for(tokens[:end], session="b"))
        assert reader.read(request_for(tokens[:250], session="a")).num_reused_tokens >= expected
        reader.manager.drop("b")
        reader.read(request_for(np.concatenate([tokens[:100], random_tokens(40, 2)]), boundaries=(40,), session="a"))
        if end == 120:
            assert reader.positions("a")[:2] == [40, 100]


def test_the_session_used_longest_ago_goes_first(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """With three places the fourth conversation evicts the one that was idle longest."""
    for name in ("a", "b", "c", "a", "d"):
        reader.read(request_for(random_tokens(20, ord(name)), session=name))
    assert {session.name for session in reader.manager.sessions} == {"a", "c", "d"}


def test_snapshots_stay_within_their_number_and_keep_the_first_boundary(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """After many turns the latest ones and the anchor are there."""
    tokens = random_tokens(500, 1)
    for end in range(50, 500, 50):
        reader.read(request_for(tokens[:end], boundaries=(20, *range(40, end, 50))))
    positions = reader.positions("s")
    assert len(positions) == 6
    assert positions[0] == 20
    assert positions[-1] == 449


def test_an_anchor_goes_when_there_is_nothing_else(
    make_backend: MakeBackend, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """With two snapshots in all and two anchored sessions, reading on still works."""
    reader = Reader(make_backend(), 3, 2)
    for name in ("a", "b", "c"):
        prompt = random_tokens(60, ord(name))
        reader.read(request_for(prompt, boundaries=(30,), session=name))
        assert reader.read(request_for(prompt, boundaries=(30,), session=name)).num_reused_tokens == 59


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
    tokens = random_tokens(300, 1)
    with pytest.raises(ContextFullError, match="full"):
        reader.read(request_for(tokens))
    reader.manager.check_integrity()
    assert reader.read(request_for(tokens[:200])).num_reused_tokens < 200


def test_a_corrupt_session_is_put_back_to_its_last_snapshot(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens, replay: Replay
) -> None:
    """After a call that llama.cpp abandoned half-way, the next prompt reuses the good part and is exact."""
    assert isinstance(reader.backend, LlamaBackend)
    tokens = random_tokens(200, 1)
    prepared = reader.read(request_for(tokens[:130], boundaries=(100,)))
    calls = iter(range(10_000))
    abort = api.ggml_abort_callback(lambda _: next(calls) > 40)
    api.llama_set_abort_callback(reader.backend._context, abort, None)
    with pytest.raises(DecodeError):
        reader.manager.extend([Step(prepared.session, tokens[130:190], True)])
    api.llama_set_abort_callback(reader.backend._context, api.ggml_abort_callback(0), None)
    reader.manager.recover(prepared.session)
    reader.manager.check_integrity()
    assert reader.read(request_for(tokens)).num_reused_tokens == 129
    ledger = prepared.session.ledger
    assert np.array_equal(reader.backend.logits(), replay(ledger.tokens, ledger.splits))


def test_a_corrupt_session_without_snapshots_is_emptied(
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """There is nothing to go back to, so the next prompt is read from the start."""
    prepared = reader.manager.prepare(request_for(random_tokens(100, 1)))
    reader.manager.extend([Step(prepared.session, random_tokens(50, 1))])
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


def test_damaged_books_are_noticed(reader: Reader, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """A ledger that differs from the cache, a lost park and a misplaced snapshot are each found."""
    prepared = reader.read(request_for(random_tokens(80, 1), boundaries=(20,)))
    session, length = prepared.session, 80
    session.ledger.truncate(length - 1)
    with pytest.raises(EngineError, match="differ in length"):
        reader.manager.check_integrity()
    session.snapshots.reverse()
    with pytest.raises(EngineError, match="snapshots of"):
        reader.manager.check_integrity()
    session.snapshots.pop()
    with pytest.raises(EngineError, match="parks are lost"):
        reader.manager.check_integrity()


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
    reader: Reader, request_for: RequestFor, random_tokens: RandomTokens, replay: Replay
) -> None:
    """A walk of extensions, retries and branches over three sessions stays exact, and always reuses its anchor."""
    random = np.random.default_rng(5)
    system = random_tokens(40, 0)
    paths = dict.fromkeys("abc", system)
    seen: set[str] = set()
    for step in range(40):
        name = str(random.choice(list("abc")))
        keep = int(random.integers(40, len(paths[name]) + 1))
        paths[name] = np.concatenate([paths[name][:keep], random_tokens(int(random.integers(1, 60)), step)])
        prepared = reader.read(request_for(paths[name], boundaries=(40, keep), session=name))
        assert prepared.num_reused_tokens >= 40 or not seen
        assert prepared.num_reused_tokens + reader.num_evaluated == len(paths[name])
        seen.add(name)
    ledger = prepared.session.ledger
    assert np.array_equal(ledger.tokens, paths[name])
    assert np.array_equal(reader.backend.logits(), replay(ledger.tokens, ledger.splits))
