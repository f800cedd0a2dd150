"""What only an engine in a process of its own does. What both kinds do is in `test_engine.py`."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from qcn_agent.config import ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Event, Finished, GenerationRequest, IntArray, TextDelta
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.isolated_engine import IsolatedEngine
from qcn_agent.errors import EngineError, RequestCancelledError, UsageError

Finish = Callable[[AsyncIterator[Event]], Awaitable[tuple[str, Finished]]]
RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]
ENDLESS = Grammar("root ::= [a-z] root")


@pytest.fixture
def engine(model_path: Path, config: ModelConfig) -> Iterator[IsolatedEngine]:
    """A running engine in a process of its own."""
    loaded = IsolatedEngine.load(config, model_path)
    yield loaded
    loaded.close()


def keepers() -> list[threading.Thread]:
    """The threads that have a child: each ends when its child is gone."""
    return [thread for thread in threading.enumerate() if thread.name == "qcn-engine-keeper"]


def test_llama_cpp_is_not_loaded_here(model_path: Path) -> None:
    """Nor by the daemon that hosts such an engine, its vocabulary included."""
    code = (
        "import sys, asyncio; from pathlib import Path; import qcn_agent.daemon.services\n"
        "from qcn_agent.config import ModelConfig\n"
        "from qcn_agent.engine.isolated_engine import IsolatedEngine\n"
        f"engine = IsolatedEngine.load(ModelConfig(n_ctx=512), Path({str(model_path)!r}))\n"
        "engine.vocabulary.encode([('x', False)]); engine.close()\n"
        "assert not [name for name in sys.modules if name.startswith('llama_cpp')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_vocabulary_is_that_of_the_model(engine: IsolatedEngine, model_path: Path, config: ModelConfig) -> None:
    """Any text, control tokens and broken text included, and which tokens end an answer."""
    local = Engine.load(config, model_path)
    pieces = [("<|im_start|>user\n", True), ("<|im_start|> as text, naïve\0\ud800", False), ("", True)]
    tokens = local.vocabulary.encode(pieces)
    assert engine.vocabulary.encode(pieces).tolist() == tokens.tolist()
    for special in (True, False):
        assert engine.vocabulary.decode(tokens, special=special) == local.vocabulary.decode(tokens, special=special)
    ends = [token for token in range(-1, local.n_vocab + 1) if local.vocabulary.is_end(token)]
    assert ends == [token for token in range(-1, local.n_vocab + 1) if engine.vocabulary.is_end(token)]
    assert ends
    local.close()


def test_a_long_text_makes_one_round_trip(engine: IsolatedEngine) -> None:
    """100,000 characters there and back."""
    text = "def f(x):\n    return x + 1\n\n\n" * 3500
    assert engine.vocabulary.decode(engine.vocabulary.encode([(text, False)])) == text


def test_an_error_of_the_vocabulary_is_the_caller_s(engine: IsolatedEngine, random_tokens: RandomTokens) -> None:
    """A foreign token id is an error, and the next question is answered."""
    with pytest.raises(EngineError, match="no token 99999999"):
        engine.vocabulary.decode(random_tokens(1, 1) * 0 + 99_999_999)
    assert engine.vocabulary.decode(engine.vocabulary.encode([("x", False)])) == "x"


async def test_what_can_not_be_sent_is_a_usage_error(
    engine: IsolatedEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """It never leaves this process."""
    with pytest.raises(UsageError, match="can't be sent"):
        await anext(engine.generate(request_for(random_tokens(5, 1).astype(object))))
    await finish(engine.generate(request_for(random_tokens(5, 1))))


async def test_a_slow_consumer_gets_everything_and_holds_up_nobody(
    engine: IsolatedEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """One reads its first event only, until another request is done; then it finds all its tokens."""
    long = request_for(random_tokens(50, 1), max_new_tokens=1500, grammar=ENDLESS)
    async with aclosing(engine.generate(long)) as slow:
        await anext(slow)
        for seed in range(3):
            await finish(engine.generate(request_for(random_tokens(20, seed + 2), session="quick")))
        rest = [event async for event in slow]
    streamed = [token for event in rest if isinstance(event, TextDelta) for token in event.tokens]
    assert isinstance(rest[-1], Finished)
    assert streamed == rest[-1].tokens.tolist()
    assert len(streamed) == 1500


@pytest.mark.parametrize("is_heard", [False, True])
async def test_who_goes_stops_the_work_in_the_other_process(
    engine: IsolatedEngine, request_for: RequestFor, random_tokens: RandomTokens, is_heard: bool
) -> None:
    """A task that is cancelled, before or after its first event: the queue empties long before the answer is whole."""
    begun = asyncio.Event()

    async def consume() -> None:
        async for _ in engine.generate(request_for(random_tokens(50, 1), max_new_tokens=1900, grammar=ENDLESS)):
            begun.set()

    task = asyncio.create_task(consume())
    await (begun.wait() if is_heard else asyncio.sleep(0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while (status := await asyncio.to_thread(engine.status)).queue_length:
            pass
    assert status.num_generated_tokens < 1900


@pytest.mark.parametrize("answer", [False, ZeroDivisionError])
def test_a_load_that_is_given_up_leaves_no_process(
    model_path: Path, config: ModelConfig, answer: bool | type[Exception]
) -> None:
    """By False from the progress, or by an exception, which comes out again."""

    def give_up(_: float) -> bool:
        if answer is False:
            return False
        raise ZeroDivisionError

    with pytest.raises(RequestCancelledError if answer is False else ZeroDivisionError):
        IsolatedEngine.load(config, model_path, on_progress=give_up)
    assert keepers() == []


def test_a_load_that_fails_leaves_no_process(config: ModelConfig, tmp_path: Path) -> None:
    """Its error has been handed over, and the child is gone."""
    (tmp_path / "bad.gguf").write_bytes(b"no model")
    with pytest.raises(Exception, match="not a GGUF"):
        IsolatedEngine.load(config, tmp_path / "bad.gguf")
    assert keepers() == []


def test_after_close_questions_are_errors_and_the_status_is_the_last_one(model_path: Path, config: ModelConfig) -> None:
    """As in this process; nothing is left running."""
    engine = IsolatedEngine.load(config, model_path)
    pid = engine.status().engine_pid
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.vocabulary.encode([("x", False)])
    engine.drop_session("s")
    status = engine.status()
    assert (status.engine_pid, status.isolation, status.num_restarts) == (pid, "process", 0)
    assert keepers() == []
    engine.close()
