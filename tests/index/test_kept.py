"""What is kept of the index."""

from qcn_agent.index.kept import Kept


def test_values_are_kept_until_the_index_changes() -> None:
    """Of another state nothing is known, until it is put in."""
    kept: Kept[str, int] = Kept(10)
    kept.keep_to(("file", 1))
    kept.put("a", 7, 1)

    kept.keep_to(("file", 1))
    assert kept.get("a") == 7
    kept.keep_to(("file", 2))
    assert kept.get("a") is None
    kept.put("a", 8, 1)
    assert kept.get("a") == 8


def test_what_was_not_asked_for_longest_goes() -> None:
    """The sum of all sizes is limited; what is too large alone takes no one's place."""
    kept: Kept[str, str] = Kept(30)
    for key in "abc":
        kept.put(key, key.upper(), 10)
    kept.get("a")

    kept.put("d", "D", 10)
    kept.put("large", "L", 31)

    assert [kept.get(key) for key in ("a", "b", "c", "d", "large")] == ["A", None, "C", "D", None]


def test_room_is_made_anew_after_a_change() -> None:
    """Sizes of what is gone don't count."""
    kept: Kept[int, int] = Kept(3)
    for state in range(5):
        kept.keep_to(state)
        for key in range(3):
            kept.put(key, key, 1)

    assert [kept.get(key) for key in range(3)] == [0, 1, 2]


def test_a_value_may_be_replaced() -> None:
    """Its place counts once."""
    kept: Kept[str, int] = Kept(2)
    for value in range(5):
        kept.put("a", value, 1)
    kept.put("b", 0, 1)

    assert (kept.get("a"), kept.get("b")) == (4, 0)
