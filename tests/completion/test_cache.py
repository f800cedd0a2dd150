"""What was generated once answers again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.completion.cache import MAX_TYPED_CHARS, CachedText, CompletionCache
from tests.fakes.cursor import at


class Clock:
    """Seconds, by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def cache_with(where: str, text: str, *, is_whole: bool = True, clock: Clock | None = None) -> CompletionCache:
    """One entry."""
    cache = CompletionCache(clock or Clock())
    cache.put(at(where), 0, CachedText(text, is_whole))
    return cache


def rest(cache: CompletionCache, where: str, epoch: int = 0, path: str = "app.py") -> str | None:
    """What is left of the entry that answers there."""
    hit = cache.get(at(where, path), epoch)
    return None if hit is None else hit.rest


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("x = ¦\n", "foo(1)\nbar()"),
        ("x = fo¦\n", "o(1)\nbar()"),
        ("x = foo(1)\n¦\n", "bar()"),
        ("x = foo(¦)\n", "1)\nbar()"),
        ("x = foo(1)\nbar()¦\n", None),
        ("x = fa¦\n", None),
        ("x = ¦ + 1\n", None),
        ("y = ¦\n", None),
    ],
)
def test_typed_through_and_accepted_parts_hit(where: str, expected: str | None) -> None:
    """Also over a line end, and with a bracket that the editor has closed by itself."""
    assert rest(cache_with("x = ¦\n", "foo(1)\nbar()"), where) == expected


def test_another_file_or_epoch_is_a_miss() -> None:
    """A stale answer from elsewhere is worse than none."""
    cache = cache_with("x = ¦\n", "foo")

    assert rest(cache, "x = ¦\n", epoch=1) is None
    assert rest(cache, "x = ¦\n", path="other.py") is None


def test_the_newest_place_wins() -> None:
    """An entry right here goes before one that was made earlier on the line."""
    cache = cache_with("x = ¦\n", "foobar")
    cache.put(at("x = foo¦\n"), 0, CachedText("baz", True))

    assert rest(cache, "x = foo¦\n") == "baz"


def test_nothing_to_say_is_known_at_its_own_place_only() -> None:
    """The model is not asked again there."""
    cache = cache_with("x = ¦\n", "")

    assert rest(cache, "x = ¦\n") == ""
    assert rest(cache, "x = f¦\n") is None


def test_an_unfinished_empty_text_is_no_answer() -> None:
    """It was cancelled before its first token."""
    assert rest(cache_with("x = ¦\n", "", is_whole=False), "x = ¦\n") is None


def test_an_unfinished_text_does_not_replace_a_longer_one() -> None:
    """A cancelled repetition loses nothing."""
    cache = cache_with("x = ¦\n", "foobar")
    cache.put(at("x = ¦\n"), 0, CachedText("foo", False))

    assert rest(cache, "x = ¦\n") == "foobar"


def test_entries_grow_old() -> None:
    """Ten minutes."""
    clock = Clock()
    cache = cache_with("x = ¦\n", "foo", clock=clock)
    clock.now_s = 601.0

    assert rest(cache, "x = ¦\n") is None
    assert len(cache) == 0


def test_least_recently_used_goes_first() -> None:
    """A hit is a use."""
    cache = CompletionCache(Clock(), max_entries=2)
    cache.put(at("a¦"), 0, CachedText("1", True))
    cache.put(at("b¦"), 0, CachedText("2", True))
    assert rest(cache, "a¦") == "1"
    cache.put(at("c¦"), 0, CachedText("3", True))

    assert [rest(cache, where) for where in ("a¦", "b¦", "c¦")] == ["1", None, "3"]


@given(st.text(alphabet="ab(\n ", max_size=30), st.text(alphabet="ab()\n ", min_size=1, max_size=300), st.data())
def test_typing_any_part_of_the_text_leaves_the_rest(before: str, text: str, data: st.DataObject) -> None:
    """Up to 256 characters, and never anything but the rest."""
    length = data.draw(st.integers(0, len(text) - 1))
    cache = CompletionCache(Clock())
    cache.put(at(before + "¦\nend"), 0, CachedText(text, True))

    found = rest(cache, before + text[:length] + "¦\nend")

    assert found == (text[length:] if length <= MAX_TYPED_CHARS else None)


@given(st.lists(st.tuples(st.text(alphabet="ab", max_size=6), st.text(alphabet="ab", max_size=6)), max_size=20))
def test_a_hit_is_never_a_wrong_continuation(entries: list[tuple[str, str]]) -> None:
    """Whatever was put in: before + rest is what some entry says."""
    cache = CompletionCache(Clock(), max_entries=5)
    for before, text in entries:
        cache.put(at(before + "¦"), 0, CachedText(text, True))

    said = {before + text for before, text in entries}
    for probe in ("", "a", "b", "ab", "ba", "aab"):
        found = rest(cache, probe + "¦")
        assert found is None or probe + found in said
