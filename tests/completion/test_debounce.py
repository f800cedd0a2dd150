"""How long to wait after a key."""

import pytest

from qcn_agent.completion.debounce import MAX_MS, MIN_MS, Edit, TypingPace, delay_ms, edit_between, patience_ms, promise
from tests.fakes.cursor import at


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = foo.¦\n", 0.9),
        ("x = fo¦\n", 0.4),
        ("x = fo¦ + 1\n", 0.0),
        ("def f():\n    ¦\n", 1.0),
        ("x = f(¦ + 1)\n", 0.5),
        ("x = 1\n¦\n", 0.9),
    ],
)
def test_places_that_ask_for_a_completion_score_higher(text: str, expected: float) -> None:
    """After a dot or bracket, at the end of a line, at the start of a block."""
    assert promise(at(text)) == pytest.approx(expected)


def test_the_wait_is_shorter_where_it_is_promising() -> None:
    """Three gaps down to half of one, which a typist does not overtake."""
    assert delay_ms(Edit.TYPED, 100.0, 0.0, 0.0) == pytest.approx(300.0)
    assert delay_ms(Edit.TYPED, 100.0, 0.0, 1.0) == pytest.approx(50.0)


def test_a_slow_model_is_not_made_slower() -> None:
    """Its own time counts as waiting; bounds hold."""
    assert delay_ms(Edit.TYPED, 100.0, 60.0, 0.5) == pytest.approx(115.0)
    assert delay_ms(Edit.TYPED, 100.0, 5000.0, 1.0) == MIN_MS
    assert delay_ms(Edit.TYPED, 399.0, 0.0, 0.0) == MAX_MS


def test_after_an_acceptance_at_once_after_deleting_late() -> None:
    """Who deletes does not know yet what to write."""
    assert delay_ms(Edit.ACCEPTED, 100.0, 0.0, 0.0) == 0.0
    assert delay_ms(Edit.DELETED, 100.0, 0.0, 1.0) == MAX_MS


def test_who_types_on_is_answered_after_two_keys() -> None:
    """However slowly he types; the model's mistakes make it wait longer, up to a limit."""
    assert patience_ms(100.0, 0) == pytest.approx(200.0)
    assert patience_ms(400.0, 0) == pytest.approx(200.0)
    assert patience_ms(100.0, 2) == pytest.approx(5_000.0)
    assert patience_ms(100.0, 50) == patience_ms(100.0, 3)


def test_the_user_may_set_it() -> None:
    """Zero included."""
    assert delay_ms(Edit.TYPED, 100.0, 0.0, 0.0, 0.0) == 0.0
    assert delay_ms(Edit.DELETED, 100.0, 0.0, 0.0, 75.0) == 75.0


@pytest.mark.parametrize(
    ("old", "new", "shown", "expected"),
    [
        ("x¦\n", "xy¦\n", "", Edit.TYPED),
        ("x = ¦\n", "x = foo¦\n", "foo(1)", Edit.ACCEPTED),
        ("x = ¦\n", "x = f¦\n", "foo(1)", Edit.TYPED),
        ("xy¦\n", "x¦\n", "", Edit.DELETED),
        ("x¦y\n", "xy¦\n", "", Edit.TYPED),
        ("abc¦\nd\n", "ab¦c\nd\n", "", Edit.MOVED),
        ("abc¦\n", "xyz¦\n", "", Edit.MOVED),
    ],
)
def test_what_the_user_did_is_seen_from_two_snapshots(old: str, new: str, shown: str, expected: Edit) -> None:
    """More than one character at once that was shown is an acceptance, of a word or of all."""
    assert edit_between(at(old), at(new), shown) is expected


def test_another_document_is_a_jump() -> None:
    """And so is the first request."""
    assert edit_between(at("x¦", "a.py"), at("xy¦", "b.py")) is Edit.MOVED
    assert edit_between(None, at("x¦")) is Edit.MOVED


def test_pace_is_the_mean_of_gaps_without_pauses() -> None:
    """A pause ends nothing; it just does not count."""
    pace = TypingPace()
    assert pace.mean_gap_ms == 150.0
    for now in (0.0, 0.1, 0.3, 5.0, 5.1):
        pace.key(now)

    assert pace.mean_gap_ms == pytest.approx(400 / 3)


def test_doubt_has_an_end() -> None:
    """However often the model was wrong."""
    assert patience_ms(150.0, 10_000) == patience_ms(150.0, 3)
