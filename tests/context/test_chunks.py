"""Cutting files at the borders of definitions."""

from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.context.chunks import MAX_FUNCTION_LINES, MAX_LINES, chunks_of, spans_of
from qcn_agent.index.tags import Definition

Spans = list[tuple[int, int]]


def definition(first: int, last: int, kind: str = "function", name: str = "f") -> Definition:
    """A definition of which only lines and kind matter."""
    return Definition(name, "", kind, 0, 0, first, last, 0, "", "")


def test_short_file_is_one_chunk() -> None:
    """Nothing is gained by cutting it."""
    assert spans_of(MAX_LINES, [definition(1, 5), definition(7, 20)]) == [(1, MAX_LINES)]


def test_functions_are_chunks_with_the_blank_lines_before_them() -> None:
    """What is between them, when it is long, is a chunk of its own."""
    found = spans_of(100, [definition(1, 10), definition(13, 40), definition(60, 100)])

    assert found == [(1, 10), (11, 40), (41, 59), (60, 100)]


def test_long_class_is_cut_at_its_methods_and_a_short_one_is_not() -> None:
    """Its first lines go with what is before the first method."""
    long, short = definition(1, 90, "class"), definition(92, 120, "class")
    methods = [definition(12, 40, "method"), definition(42, 90, "method"), definition(95, 110, "method")]

    assert spans_of(120, [long, short, *methods]) == [(1, 11), (12, 40), (41, 90), (91, 120)]


def test_function_stays_whole_up_to_its_limit() -> None:
    """A longer one is cut at what lies in it, or into equal parts."""
    whole = spans_of(400, [definition(1, MAX_FUNCTION_LINES), definition(50, 60)])
    cut = spans_of(400, [definition(1, 400), definition(101, 200)])

    assert whole[0] == (1, MAX_FUNCTION_LINES)
    assert (101, 200) in cut
    assert max(last - first + 1 for first, last in spans_of(400, [])) <= MAX_LINES


def test_definitions_beyond_the_text_are_passed_over() -> None:
    """An index that is behind the file names lines that are not there."""
    assert spans_of(70, [definition(60, 90), definition(2, 1)]) == spans_of(70, [])
    assert spans_of(0, [definition(1, 2)]) == []


def test_deep_nesting_ends() -> None:
    """A thousand classes inside each other are cut without going a thousand levels down."""
    nested = [definition(line, 3000 - line, "class") for line in range(1, 1001)]

    assert covered(spans_of(3000, nested)) == list(range(1, 3001))


def covered(spans: Spans) -> list[int]:
    """All lines, in order."""
    return [line for first, last in spans for line in range(first, last + 1)]


@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 300), st.sampled_from(["function", "class"])), max_size=30),
)
def test_every_line_is_in_exactly_one_chunk(num_lines: int, raw: list[tuple[int, int, str]]) -> None:
    """Whatever the definitions, overlapping ones included."""
    definitions = [definition(first, first + length, kind) for first, length, kind in raw]

    assert covered(spans_of(num_lines, definitions)) == list(range(1, num_lines + 1))


@given(st.text(alphabet="ab \n\r\t", max_size=400))
def test_chunks_together_are_the_text(text: str) -> None:
    """But for a newline at the end, which each chunk has."""
    joined = "".join(chunk.text for chunk in chunks_of(text, ()))

    assert joined == (text if text.endswith("\n") or not text else f"{text}\n")
