"""What is shown, and what of it counts."""

import asyncio
from collections.abc import Sequence

import pytest

from qcn_agent.completion.values import Snapshot
from tests.bench.policy_oracle import Recording
from tests.bench.policy_screen import Generation, Screen, Shown, num_unseen_tokens
from tests.bench.typing_traces import Passage, Press
from tests.fakes.virtual_time import run

RECORDING = Recording(Passage("", "result = 1\nreturn", ""))


def snapshot(before: str) -> Snapshot:
    """The cursor behind it."""
    return Snapshot("file:///a.py", "a.py", "python", 1, before, "")


def typed(events: Sequence[tuple[str, str | None]]) -> Screen:
    """Keys 100 ms apart; a reply, if any, comes 50 ms after its key."""

    async def main() -> Screen:
        screen = Screen(RECORDING)
        for before, reply in events:
            screen.press(Press(0.0, before), snapshot(before))
            await asyncio.sleep(0.05)
            if reply is not None:
                screen.show(snapshot(before), reply)
            await asyncio.sleep(0.05)
        screen.close()
        return screen

    return run(main())


def test_right_text_is_useful_and_stays_while_it_is_typed() -> None:
    """One reply, three keys, two and a half tenths of a second."""
    screen = typed([("r", "esult = 1"), ("re", None), ("res", None)])
    assert (screen.num_keys, screen.num_useful) == (3, 3)
    assert screen.useful_ms == pytest.approx(250)
    assert screen.total_ms == pytest.approx(300)
    assert [reply.reply_ms for reply in screen.replies] == [pytest.approx(50)]


@pytest.mark.parametrize("text", ["esult = 2", "es", "x", "\nother"])
def test_wrong_or_short_text_is_not(text: str) -> None:
    """Two letters are no help."""
    assert typed([("r", text)]).num_useful == 0


def test_the_rest_of_a_line_may_be_short() -> None:
    """It ends the line."""
    assert typed([("result = ", "1\nreturn")]).num_useful == 1


def test_only_the_first_line_is_judged() -> None:
    """Of a block, too, whose later lines may be wrong; blank lines before it belong to it."""
    assert typed([("result", " = 1\nwrong")]).num_useful == 1
    assert typed([("result = 1", "\nreturn")]).num_useful == 1


def test_another_key_than_shown_clears_the_screen() -> None:
    """Nothing is shown then."""
    screen = typed([("r", "xyz"), ("re", None)])
    assert (screen.visible, screen.num_useful) == ("", 0)


def test_a_late_reply_is_stale_and_not_shown() -> None:
    """It was for another text."""

    async def main() -> Screen:
        screen = Screen(RECORDING)
        screen.press(Press(0.0, "re"), snapshot("re"))
        screen.show(snapshot("r"), "esult")
        return screen

    screen = run(main())
    assert (screen.num_stale, screen.visible, screen.replies) == (1, "", [])


def test_a_slip_does_not_count() -> None:
    """Nothing is right after it."""

    async def main() -> Screen:
        screen = Screen(RECORDING)
        screen.press(Press(0.0, "rq", is_slip=True), snapshot("rq"))
        await asyncio.sleep(1)
        screen.close()
        return screen

    screen = run(main())
    assert (screen.num_keys, screen.total_ms) == (0, 0.0)


@pytest.mark.parametrize(
    ("shown", "unseen"),
    [
        ([], 8.0),
        ([Shown("a = ", "ab", 1.0)], 6.0),
        ([Shown("a = abc", "defgh", 1.0)], 0.0),
        ([Shown("a = ab", "xx", 1.0)], 8.0),
        ([Shown("a = q", "abcdefgh", 1.0)], 8.0),
        ([Shown("other", "abcdefgh", 1.0)], 8.0),
    ],
)
def test_unseen_is_what_no_reply_shows(shown: list[Shown], unseen: float) -> None:
    """What was typed of a generation before the rest was shown counts as seen."""
    assert num_unseen_tokens([Generation("a = ", "abcdefgh", 8)], shown) == unseen
