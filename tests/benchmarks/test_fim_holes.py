"""Lines that are to be filled in."""

import random

import pytest

from qcn_agent.engine.backend import Backend
from qcn_agent.engine.text import LlamaVocabulary
from qcn_agent.training import source_file, textbook
from tests.bench.fim_holes import DRAWS, MIN_TOKENS, hole_at, holes, library

TEXT = "import os\n\n\ndef half(number):\n    return number // 2\n\n\nx\n"


def test_a_hole_is_the_rest_of_a_line(real: Backend) -> None:
    """The text is whole with it; it has three tokens at least, and begins behind the indentation."""
    vocabulary = LlamaVocabulary(real)
    for seed in range(50):
        hole = hole_at(random.Random(seed), TEXT, 0, len(TEXT), vocabulary)
        assert hole is not None
        assert hole.before + hole.rest + hole.after == TEXT
        assert "\n" not in hole.rest
        assert len(vocabulary.encode([(hole.rest, False)])) >= MIN_TOKENS
        assert hole.before[-1:] != "\n" or hole.rest[0] != " "


def test_a_hole_lies_where_it_may(real: Backend) -> None:
    """Nowhere else; none where no line is long enough."""
    begin = TEXT.index("    return")
    vocabulary = LlamaVocabulary(real)
    for seed in range(20):
        hole = hole_at(random.Random(seed), TEXT, begin, begin + 22, vocabulary)
        assert hole is not None
        assert hole.before.startswith(TEXT[:begin])
    assert hole_at(random.Random(1), TEXT, TEXT.index("x\n"), len(TEXT), vocabulary) is None


@pytest.mark.parametrize("name", DRAWS)
def test_each_source_has_holes_always_the_same(real: Backend, name: str) -> None:
    """Three of them."""
    vocabulary = LlamaVocabulary(real)
    found = holes(name, 3, vocabulary)
    assert len(found) == 3
    assert found == holes(name, 3, vocabulary)


def test_a_source_that_has_none_is_an_error(real: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not passed over in silence."""
    monkeypatch.setitem(DRAWS, "own", lambda rng: ("x\n", 0, 2))
    with pytest.raises(LookupError):
        holes("own", 1, LlamaVocabulary(real))


def test_the_library_gives_functions_that_the_rule_holds_out() -> None:
    """One in fifty."""
    found = library()
    assert len(found) >= 20
    assert all(source_file.is_held_out(file.functions[number].digest) for file, number in found)


def test_textbook_functions_are_held_out() -> None:
    """By their hash, or with their template; the span is a function."""
    rng = random.Random(5)
    for name in ("textbook", "template"):
        text, begin, end = DRAWS[name](rng)
        assert text[begin:end].lstrip().startswith(("def ", "class ", "@", "#"))
    assert all(not template.held_out for template in textbook.trained_templates())
