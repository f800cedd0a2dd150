"""Documents follow an editor's changes exactly, in every encoding, whatever the text."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_lsp.documents import ENCODINGS, UTF_8, UTF_16, UTF_32, Document, DocumentError, Position, num_points, num_units

# Everything that Python, but not LSP, takes for the end of a line; characters of one to four bytes; all real ends.
PIECES = st.sampled_from(
    ["a", "bc", "\n", "\r\n", "\r", "\f", "\v", "\x1c", "\x85", "\u2028", "é", "語", "😀", "\u0301", ""]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)
SPOTS = st.tuples(st.integers(0, 9), st.integers(0, 9))


def document(text: str) -> Document:
    """Version 1."""
    return Document("file:///a.py", "python", 1, text)


def encoded(text: str, encoding: str) -> int:
    """Code units, by really encoding."""
    width, codec = {UTF_8: (1, "utf-8"), UTF_16: (2, "utf-16-le"), UTF_32: (4, "utf-32-le")}[encoding]
    return len(text.encode(codec)) // width


def offset(text: str, line: int, character: int, encoding: str) -> int:
    """The code point that a position means, counted the slow way."""
    begins = [0, *(found.end() for found in re.finditer(r"\r\n|\n|\r", text))]
    if line >= len(begins):
        return len(text)
    begin = begins[line]
    end = begin
    while end < len(text) and text[end] not in "\r\n" and encoded(text[begin : end + 1], encoding) <= character:
        end += 1
    return end


def change(begin: tuple[int, int], end: tuple[int, int], text: str) -> dict[str, Any]:
    """As LSP says it."""
    spots = [{"line": line, "character": character} for line, character in (begin, end)]
    return {"range": {"start": spots[0], "end": spots[1]}, "text": text}


@given(TEXTS, st.lists(st.tuples(SPOTS, SPOTS, TEXTS), max_size=4), st.sampled_from(ENCODINGS))
def test_edits_are_those_of_a_flat_text(
    text: str, edits: list[tuple[tuple[int, int], tuple[int, int], str]], encoding: str
) -> None:
    """Equal to cutting the whole text at counted code points; lines are those of the result."""
    followed = document(text)
    for number, (one, other, new) in enumerate(edits):
        begin, end = sorted((one, other))
        followed.apply(2 + number, [change(begin, end, new)], encoding)
        text = text[: offset(text, *begin, encoding)] + new + text[offset(text, *end, encoding) :]
        assert followed.text == text
        assert [followed.line(n) for n in range(followed.num_lines)] == re.split(r"\r\n|\n|\r", text)
    assert followed.version == 1 + len(edits)


@given(TEXTS, SPOTS, st.sampled_from(ENCODINGS))
def test_a_place_survives_the_way_there_and_back(text: str, spot: tuple[int, int], encoding: str) -> None:
    """Code units to code points to code units: the same place, moved to the start of a character at most."""
    followed = document(text)
    place = followed.locate(Position(*spot), encoding)
    assert followed.locate(followed.units(place, encoding), encoding) == place
    before, after = followed.split(place)
    assert (before, after) == (text[: offset(text, *spot, encoding)], text[offset(text, *spot, encoding) :])


@given(st.text(max_size=9), st.integers(0, 20), st.sampled_from(ENCODINGS))
def test_units_and_points_agree(line: str, count: int, encoding: str) -> None:
    """So many code points never have more units than asked for, and one more would."""
    points = num_points(line, count, encoding)
    assert num_units(line[:points], encoding) <= count
    assert points == len(line) or num_units(line[: points + 1], encoding) > count


def test_several_changes_apply_one_after_the_other() -> None:
    """Each one's range is in the text that the one before made; a change without a range is all of the text."""
    followed = document("one\ntwo\n")
    followed.apply(5, [change((0, 0), (0, 3), "1"), change((0, 1), (1, 0), ""), change((0, 0), (0, 0), "#")], UTF_16)
    assert followed.text == "#1two\n"
    followed.apply(6, [{"text": "new\r"}, change((1, 0), (1, 0), "\n")], UTF_16)
    assert (followed.text, followed.num_lines, followed.version) == ("new\r\n", 2, 6)


def test_a_form_feed_ends_no_line() -> None:
    """The edit lands on the line that the editor counts."""
    followed = document("def f():\f\n    pass\n")
    followed.apply(2, [change((1, 4), (1, 8), "return")], UTF_16)
    assert followed.text == "def f():\f\n    return\n"


@pytest.mark.parametrize(
    "bad",
    [
        {"range": {"start": {"line": 0, "character": 0}}, "text": ""},
        {"range": {"start": {"line": 0, "character": -1}, "end": {"line": 0, "character": 0}}, "text": ""},
        {"range": {"start": {"line": True, "character": 0}, "end": {"line": 0, "character": 0}}, "text": ""},
        {"range": 5, "text": ""},
        {"text": 5},
        {},
        None,
    ],
)
def test_a_change_that_makes_no_sense_is_refused(bad: Any) -> None:
    """Nothing is guessed: the caller asks for the whole text again. The version stays."""
    followed = document("a")
    with pytest.raises(DocumentError):
        followed.apply(2, [bad], UTF_16)
    assert (followed.version, followed.text) == (1, "a")


@pytest.mark.parametrize("missing", ["uri", "languageId", "version", "text"])
def test_a_document_is_opened_whole_or_not_at_all(missing: str) -> None:
    """Each of its fields has to be there."""
    item: dict[str, Any] = {"uri": "file:///a", "languageId": "c", "version": 3, "text": "x"}
    assert Document.of(item).item() == item
    with pytest.raises(DocumentError):
        Document.of({**item, missing: None})
