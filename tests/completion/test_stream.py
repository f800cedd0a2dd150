"""One running generation and who follows it."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np

from qcn_agent.completion.place import Place
from qcn_agent.completion.stream import ORPHAN_TOKENS, Stream
from qcn_agent.completion.values import Kind
from qcn_agent.engine.generator import Event, Finished, PrefillProgress, TextDelta, TokenLogprob, Usage
from tests.fakes.cursor import at
from tests.fakes.scripted import SPECIALS, ByteVocabulary
from tests.fakes.virtual_time import run

MIDDLE = 256 + SPECIALS.index("<|fim_middle|>")


async def speak(text: str, step_s: float = 0.01) -> AsyncIterator[Event]:
    """A byte a step, then the end."""
    for char in text:
        yield TextDelta(char, (ord(char),), (TokenLogprob(ord(char), -0.5),))
        await asyncio.sleep(step_s)
    yield Finished("stop", np.array([ord(char) for char in text], np.int32), Usage(num_generated_tokens=len(text)))


def stream_at(text: str, kind: Kind = Kind.LINE) -> tuple[Stream, list[str]]:
    """A stream that is not started, and the reasons it ended for."""
    ends: list[str] = []
    stream = Stream(Place(at(text), kind), ByteVocabulary(), frozenset({MIDDLE}), lambda one: ends.append(one.ended))
    return stream, ends


def test_it_grows_and_ends_once() -> None:
    """With all that was said, its account and its certainty."""

    async def main() -> None:
        stream, ends = stream_at("x = ¦\n")
        stream.start(speak("abc"))
        while not stream.ended:
            await stream.changed(1.0)
        stream.stop()
        assert (stream.text, stream.ended, ends, stream.mean_logprob) == ("abc", "stop", ["stop"], -0.5)
        assert stream.cached.is_whole
        assert stream.usage is not None

    run(main())


def test_who_types_what_it_says_follows_it() -> None:
    """Slower or faster than it; with an auto-closed bracket; not anything else."""

    async def main() -> None:
        stream, _ = stream_at("x = ¦\n")
        stream.start(speak("foo(bar)"))
        await asyncio.sleep(0.035)
        assert stream.rest(at("x = f¦\n")) == stream.text[1:]
        assert stream.rest(at("x = foo(ba¦\n")) == ""
        assert stream.rest(at("x = foo(¦)\n")) is not None
        assert stream.rest(at("x = g¦\n")) is None
        assert stream.rest(at("y = ¦\n")) is None
        assert stream.rest(at("x = ¦\n", "other.py")) is None
        assert stream.rest(at("x = ¦ + 1\n")) is None
        stream.stop()

    run(main())


def test_an_end_that_was_typed_over_is_no_use() -> None:
    """Nothing is left of it."""

    async def main() -> None:
        stream, _ = stream_at("x = ¦\n")
        stream.start(speak("ab"))
        await asyncio.sleep(1)
        assert stream.rest(at("x = ab¦\n")) is None
        assert stream.rest(at("x = a¦\n")) == "b"

    run(main())


def test_a_stop_ends_it_and_what_is_beyond_is_cut() -> None:
    """The generator is closed at once."""

    async def main() -> None:
        stream, ends = stream_at("x = ¦\n")
        stream.start(speak("abc\ndefghi"))
        await asyncio.sleep(1)
        assert (stream.text, ends, stream.cached.is_whole) == ("abc", ["cut"], True)

    run(main())


def test_a_marker_among_the_tokens_ends_the_text_before_it() -> None:
    """Even when more text came with it."""

    async def marked() -> AsyncIterator[Event]:
        yield TextDelta("ab", (97, MIDDLE, 98))
        await asyncio.sleep(1)

    async def main() -> None:
        stream, ends = stream_at("x = ¦\n")
        stream.start(marked())
        await asyncio.sleep(0.5)
        assert (stream.text, ends) == ("a", ["marker"])

    run(main())


def test_an_orphan_goes_on_for_some_tokens_only() -> None:
    """Unless it is adopted again."""

    async def main() -> None:
        stream, ends = stream_at("x = ¦\n")
        stream.start(speak("abcdefghij" * 20))
        await asyncio.sleep(0.095)
        stream.orphan(may_go_on=True)
        await asyncio.sleep(10)
        assert 10 + ORPHAN_TOKENS - 1 <= len(stream.text) <= 10 + ORPHAN_TOKENS + 1
        assert ends == ["cancelled"]
        assert not stream.cached.is_whole

        adopted, _ = stream_at("x = ¦\n")
        adopted.start(speak("abcdefghij" * 20))
        await asyncio.sleep(0.01)
        adopted.orphan(may_go_on=True)
        adopted.adopt()
        await asyncio.sleep(10)
        assert adopted.ended == "stop"

    run(main())


def test_an_orphan_that_is_in_the_way_ends_now() -> None:
    """Others want the model."""

    async def main() -> None:
        stream, ends = stream_at("x = ¦\n")
        stream.start(speak("abc"))
        await asyncio.sleep(0.005)
        stream.orphan(may_go_on=False)
        assert ends == ["cancelled"]

    run(main())


def test_superseded_by_the_engine_it_has_ended() -> None:
    """Its iterator just ends."""

    async def silent() -> AsyncIterator[Event]:
        no_events: tuple[Event, ...] = ()
        for event in no_events:
            yield event

    async def main() -> None:
        stream, ends = stream_at("x = ¦\n")
        stream.start(silent())
        await asyncio.sleep(0.1)
        assert ends == ["cancelled"]

    run(main())


def test_it_is_confirmed_by_what_it_had_said_before() -> None:
    """Not by a key that comes before its first word, nor by another one."""

    async def main() -> None:
        stream, _ = stream_at("x = ¦\n")
        assert not stream.is_confirmed_by(at("x = f¦\n"))
        stream.start(speak("foo"))
        await asyncio.sleep(0.015)
        assert stream.is_confirmed_by(at("x = fo¦\n"))
        assert not stream.is_confirmed_by(at("x = ¦\n"))
        assert not stream.is_confirmed_by(at("x = g¦\n"))

    run(main())


def test_it_knows_how_far_its_prompt_was_read() -> None:
    """Also when it is stopped before the first word."""

    async def read() -> AsyncIterator[Event]:
        yield PrefillProgress(40, 100)
        await asyncio.sleep(1)

    async def main() -> int:
        stream, _ = stream_at("x = ¦\n")
        stream.start(read())
        await asyncio.sleep(0.01)
        stream.stop()
        return stream.num_read_tokens

    assert run(main()) == 40
