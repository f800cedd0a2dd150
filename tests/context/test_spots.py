"""Where words stand in a text."""

from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.context.spots import SearchedText

TEXT = st.text("abc_", max_size=60).map(str.encode)


@given(TEXT, st.text("abc_", min_size=1, max_size=11).map(str.encode))
def test_every_place_is_found(text: bytes, word: bytes) -> None:
    """Where the word stands and nowhere else, at the end of the text, too."""
    expected = [at for at in range(len(text)) if text[at : at + len(word)] == word]

    assert SearchedText(text).spots(word).tolist() == expected


def test_a_word_is_not_found_beyond_the_end() -> None:
    """Zeros behind the text are not part of it; neither is an empty word anywhere."""
    text = SearchedText(b"end")

    assert text.spots(b"d").tolist() == [2]
    assert text.spots(b"d\0").tolist() == []
    assert text.spots(b"").tolist() == []
    assert SearchedText(b"").spots(b"a").tolist() == []


def test_bytes_that_are_no_text_are_bytes() -> None:
    """Nothing is decoded."""
    assert SearchedText(b"\xff\x00\xff\x00").spots(b"\xff\x00").tolist() == [0, 2]
