"""Definitions as columns."""

from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.index.definitions import pack_definitions, unpack_definitions
from qcn_agent.index.tags import Definition

WORD = st.text("abc.é", max_size=4)
POSITION = st.integers(0, 2**31)
DEFINITIONS = st.lists(
    st.builds(Definition, WORD, WORD, WORD, POSITION, POSITION, POSITION, POSITION, POSITION, WORD, WORD), max_size=8
)


@given(DEFINITIONS)
def test_a_blob_gives_back_the_definitions(definitions: list[Definition]) -> None:
    """All at once or one by one, in whatever order they are."""
    table = unpack_definitions(pack_definitions(definitions))

    assert len(table) == len(definitions)
    assert table.all() == tuple(definitions)
    assert [table.at(place) for place in range(len(table))] == definitions
    assert [table.qualified(place) for place in range(len(table))] == [one.qualified for one in definitions]


def test_definitions_are_found_by_name() -> None:
    """In the order of the text."""
    one, two = (Definition("f", scope, "function", 1, 9, 1, 2, 5, "def f()", "") for scope in ("", "A"))
    other = Definition("g", "", "function", 10, 19, 3, 4, 15, "def g()", "")
    table = unpack_definitions(pack_definitions([one, other, two]))

    assert list(table.named("f")) == [one, two]
    assert list(table.named("h")) == []


def test_no_definitions_take_no_bytes() -> None:
    """A text file has none."""
    assert pack_definitions([]) == b""
    assert unpack_definitions(b"").all() == ()
