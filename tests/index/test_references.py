"""References as columns."""

from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.index.references import pack_references, unpack_references

LINES = {"read": (2, 5, 9), "write": (5,), "close": (1, 9)}
COUNTS = {"read": 4, "write": 1, "close": 2}
TABLES = st.dictionaries(st.text("abc", min_size=1), st.sets(st.integers(1, 50), min_size=1).map(sorted), max_size=6)


@given(TABLES)
def test_a_blob_gives_back_names_counts_and_lines(lines: dict[str, list[int]]) -> None:
    """Of every name."""
    counts = {name: 7 * len(found) for name, found in lines.items()}

    table = unpack_references(pack_references(lines, counts))

    assert {name: list(table.lines_of(name)) for name in table.names} == lines
    assert dict(zip(table.names, table.counts.tolist(), strict=True)) == counts


@given(TABLES, st.integers(0, 51), st.integers(0, 51))
def test_names_between_lines_are_ordered_by_their_first_line(
    lines: dict[str, list[int]], first: int, last: int
) -> None:
    """Both ends count; names of one line are in their own order."""
    inside = {name: [line for line in found if first <= line <= last] for name, found in lines.items()}
    expected = [name for _line, name in sorted((found[0], name) for name, found in inside.items() if found)]

    assert unpack_references(pack_references(lines, dict.fromkeys(lines, 1))).used_between(first, last) == expected


def test_a_name_that_is_not_used_has_no_lines() -> None:
    """Neither has any in a file without references."""
    table = unpack_references(pack_references(LINES, COUNTS))

    assert table.lines_of("read") == (2, 5, 9)
    assert table.lines_of("open") == ()
    assert table.used_between(5, 5) == ["read", "write"]
    assert unpack_references(b"").used_between(1, 9) == []
