"""Pieces of the corpus."""

import dataclasses
import random

import pytest

from qcn_agent.training import excerpts
from qcn_agent.training.excerpts import Excerpts
from qcn_agent.training.source_file import SourceFile


def side(file: SourceFile) -> bool:
    """The side of the rule that the file's first function is on."""
    return file.functions[0].held_out


def test_an_excerpt_is_a_module_around_one_function(corpus_file: SourceFile, rng: random.Random) -> None:
    """It parses, holds the whole function from `start` on, and knows what the function says about itself."""
    source = Excerpts([corpus_file], held_out=side(corpus_file))
    drawn = {excerpt.name: excerpt for excerpt in (source.draw(rng) for _ in range(40))}
    excerpt = drawn["first_words"]
    assert excerpt.text[excerpt.start :].startswith("def first_words(text, count):\n")
    assert excerpt.doc == "Return the first words of a text."
    assert excerpt.node.name == "first_words"


def test_a_method_comes_with_its_class(corpus_file: SourceFile, rng: random.Random) -> None:
    """The class line stands above the method."""
    source = Excerpts([corpus_file], held_out=corpus_file.functions[2].held_out)
    texts = [excerpt.text for excerpt in (source.draw(rng) for _ in range(40)) if excerpt.name == "keep"]
    assert texts and all("class Store:\n    def keep(self, name, value):" in text for text in texts)


def test_imports_of_the_file_may_come_along(corpus_file: SourceFile, rng: random.Random) -> None:
    """Up to four of the file's import lines stand at the top."""
    source = Excerpts([corpus_file], held_out=side(corpus_file))
    texts = [source.draw(rng).text for _ in range(40)]
    assert any(text.startswith("import os\n") for text in texts)
    assert any(not text.startswith("import os\n") for text in texts)


def test_the_other_side_of_the_rule_is_never_drawn(corpus_file: SourceFile, rng: random.Random) -> None:
    """Functions on the other side are no candidates."""
    digests = ["0000", "0001", "0001"]  # the first is held out
    functions = [dataclasses.replace(f, digest=d) for f, d in zip(corpus_file.functions, digests, strict=True)]
    file = dataclasses.replace(corpus_file, functions=tuple(functions))
    assert {Excerpts([file]).draw(rng).name for _ in range(30)} == {"__init__", "keep"}
    assert {Excerpts([file], held_out=True).draw(rng).name for _ in range(30)} == {"first_words"}


def test_cuts_are_not_in_running_text(corpus_file: SourceFile) -> None:
    """Reserved functions are taken out, everything else stays."""
    text = excerpts.trainable_text(corpus_file)
    assert "quicksort" not in text
    assert "class Store:" in text


def test_windows_are_whole_lines_at_the_start(corpus_file: SourceFile, rng: random.Random) -> None:
    """A window begins at a line and is at most as long as asked."""
    source = Excerpts([corpus_file], held_out=side(corpus_file))
    text = excerpts.trainable_text(corpus_file)
    for _ in range(30):
        window = source.window(rng, 200)
        assert len(window) <= 200
        assert ("\n" + text).count("\n" + window) >= 1


def test_an_empty_corpus_has_nothing(rng: random.Random) -> None:
    """Both draws raise LookupError."""
    with pytest.raises(LookupError):
        Excerpts([]).draw(rng)
    with pytest.raises(LookupError):
        Excerpts([]).window(rng, 100)
