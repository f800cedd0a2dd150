"""What became of a completion is read off the document's changes."""

from collections import Counter

import pytest

from qcn_agent.completion.acceptance import FOLLOWED_S, MAX_FOLLOWED, Acceptance, Edit, Shown, share_kept

URI = "file:///a.py"
TEXT = "return low + high"


class Desk:
    """One editor with one document; a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self.acceptance = Acceptance(self._count, lambda: self.now)

    def _count(self, language: str, event: str, amount: float) -> None:
        assert language == "python"
        self.counts[event] += amount  # type: ignore[assignment]

    def show(self, text: str = TEXT, begin: int = 10, item_id: str = "1", uri: str = URI) -> None:
        """An item on the screen."""
        self.acceptance.show(Shown(item_id, uri, "python", 1, begin, text, self.now, "val"))

    def edit(self, begin: int, text: str, removed: int = 0) -> None:
        """A change."""
        self.acceptance.change(URI, Edit(begin, removed, text, 3))

    def outcome(self) -> dict[str, float]:
        """What was counted, without how often something was shown."""
        return {event: amount for event, amount in self.counts.items() if event not in ("shown", "accepted_chars")}


@pytest.fixture
def desk() -> Desk:
    """One item is shown."""
    made = Desk()
    made.show()
    return made


def test_the_command_accepts_whole(desk: Desk) -> None:
    """Once; a change that comes with it is not counted again."""
    desk.acceptance.command("1")
    desk.edit(10, TEXT)
    desk.acceptance.command("1")
    assert desk.counts == {"shown": 1, "accepted": 1, "accepted_chars": len(TEXT)}


def test_text_that_appears_at_once_was_accepted(desk: Desk) -> None:
    """As by an editor that says nothing."""
    desk.edit(10, TEXT)
    assert desk.outcome() == {"accepted": 1}


def test_a_word_put_in_anew_with_the_item_is_an_acceptance(desk: Desk) -> None:
    """As by an editor with a list, which replaces what was typed of it."""
    desk.edit(7, "val" + TEXT, removed=3)
    assert desk.outcome() == {"accepted": 1}


@pytest.mark.parametrize("text", ["valid", "foo" + TEXT, "xy"])
def test_another_word_from_the_list_is_none(desk: Desk, text: str) -> None:
    """It ends the item."""
    desk.now = 1.0
    desk.edit(7, text, removed=3)
    assert desk.outcome() == {"refused": 1}


def test_word_by_word_is_accepted_in_parts(desk: Desk) -> None:
    """Up to the end, the whole item is."""
    begin = 10
    for part in ("return", " low", " +", " high"):
        desk.edit(begin, part)
        begin += len(part)
    assert desk.outcome() == {"accepted_in_parts": 1}


def test_a_part_and_then_something_else(desk: Desk) -> None:
    """Only what was taken counts."""
    desk.edit(10, "return ")
    desk.now = 1.0
    desk.edit(17, "x")
    assert desk.outcome() == {"accepted_partly": 1}
    assert desk.counts["accepted_chars"] == len("return ")


def test_a_character_at_a_time_was_typed(desk: Desk) -> None:
    """Nobody accepted anything, but the completion was right."""
    for index, char in enumerate(TEXT):
        desk.edit(10 + index, char)
    assert desk.outcome() == {"typed": 1}


@pytest.mark.parametrize(("seconds", "event"), [(0.1, "passed_by"), (0.3, "refused")])
def test_something_else_is_a_refusal_if_there_was_time_to_read(desk: Desk, seconds: float, event: str) -> None:
    """Who types on fast has not seen it."""
    desk.now = seconds
    desk.edit(10, "x")
    assert desk.outcome() == {event: 1}


def test_a_removal_at_the_place_ends_it(desk: Desk) -> None:
    """Backspace."""
    desk.now = 1.0
    desk.edit(9, "", removed=1)
    assert desk.outcome() == {"refused": 1}


def test_edits_elsewhere_change_nothing(desk: Desk) -> None:
    """Behind it, and before it, where they move it."""
    desk.edit(500, "x")
    desk.edit(0, "import re\n")
    desk.edit(2, "", removed=3)
    desk.edit(10 + len("import re\n") - 3, TEXT)
    assert desk.outcome() == {"accepted": 1}


def test_an_old_item_is_nobody_s(desk: Desk) -> None:
    """After ten seconds what appears there is something new."""
    desk.now = FOLLOWED_S + 1
    desk.edit(10, TEXT)
    assert desk.outcome() == {"passed_by": 1}


def test_a_new_item_takes_the_place_of_the_old_one(desk: Desk) -> None:
    """In the same document; in others they stay, up to a number."""
    desk.show(item_id="2")
    assert desk.outcome() == {"passed_by": 1}
    for number in range(MAX_FOLLOWED + 5):
        desk.show(item_id=f"other{number}", uri=f"file:///{number}.py")
    assert desk.outcome() == {"passed_by": 1 + 6}


def test_what_was_accepted_is_looked_for_later(desk: Desk) -> None:
    """After 30, 120 and 600 s, as far as the document is open."""
    desk.edit(10, TEXT)
    texts = {URI: f"def f():\n    {TEXT}\n"}
    desk.now = 31.0
    desk.acceptance.probe(texts.get)
    assert (desk.counts["probed_30s"], desk.counts["kept_30s"]) == (1, 1.0)
    texts[URI] = "def f():\n    return low\n"
    desk.now = 121.0
    desk.acceptance.probe(texts.get)
    assert desk.counts["kept_120s"] == pytest.approx(2 / 4)
    texts.clear()
    desk.now = 601.0
    desk.acceptance.probe(texts.get)
    desk.acceptance.probe(texts.get)
    assert "probed_600s" not in desk.counts
    assert desk.counts["probed_120s"] == 1


def test_a_closed_document_is_not_looked_at(desk: Desk) -> None:
    """Neither what was shown nor what was accepted there."""
    desk.edit(10, TEXT)
    desk.show(item_id="2")
    desk.acceptance.close(URI)
    desk.now = 1000.0
    desk.acceptance.probe({URI: TEXT}.get)
    assert desk.outcome() == {"accepted": 1, "passed_by": 1}


@pytest.mark.parametrize(
    ("text", "line", "share"),
    [("a b c", 0, 1.0), ("a\nx\nb\nc", 2, 1.0), ("c b a", 0, 1 / 3), ("", 0, 0.0), ("\n" * 300 + "a b c", 0, 0.0)],
)
def test_the_share_that_is_kept(text: str, line: int, share: float) -> None:
    """In order, and nearby."""
    assert share_kept(["a", "b", "c"], text, line) == pytest.approx(share)
