"""Choosing bugs, and the edit that repairs one."""

import random

import pytest

from qcn_agent.training import mutate, textbook
from qcn_agent.training.source_view import Mutation

MODULE = "def f(a):\n    return a + 1\n\n\nclass G:\n    size = 0\n\n    def g(self, b):\n        return b < 2\n"


def test_mutations_change_exactly_one_line(rng: random.Random) -> None:
    """On textbook modules of every template, each mutation changes one line and no other."""
    for template in textbook.trained_templates()[::7]:
        module = textbook.draw_module(rng, template, held_out=None)
        lines = module.text.split("\n")
        for mutation in mutate.target_mutations(module.text, module.function.name):
            changed = mutation.apply(module.text).split("\n")
            assert len(changed) == len(lines)
            assert sum(a != b for a, b in zip(lines, changed, strict=True)) == 1


def test_mutations_stay_inside_the_target(rng: random.Random) -> None:
    """Other functions of the file are not touched."""
    for template in textbook.trained_templates()[::11]:
        module = textbook.draw_module(rng, template, held_out=None)
        for mutation in mutate.target_mutations(module.text, module.function.name):
            line = module.text.count("\n", 0, mutation.start) + 1
            assert module.first_line <= line <= module.last_line


def test_a_class_is_mutated_in_its_methods() -> None:
    """The target of a class is all its methods."""
    assert [node.name for node in mutate.target_functions(MODULE, "G")] == ["g"]
    assert [node.name for node in mutate.target_functions(MODULE, "f")] == ["f"]


def test_a_missing_target_is_an_error() -> None:
    """A name that the module lacks raises LookupError."""
    with pytest.raises(LookupError):
        mutate.target_functions(MODULE, "h")


def test_kinds_are_drawn_by_weight(rng: random.Random) -> None:
    """A rare kind with many mutations does not crowd out a usual one with few."""
    found = [Mutation(0, 1, "x", "offby1")] + [Mutation(0, 1, str(i), "variable") for i in range(50)]
    drawn = [mutate.choose(found, rng).kind for _ in range(400)]
    assert 0.7 < drawn.count("offby1") / 400 < 0.9


def test_broken_text_does_not_parse() -> None:
    """parses() says no to what Python can't read, NUL bytes included."""
    assert mutate.parses("a = 1\n")
    assert not mutate.parses("a = = 1\n")
    assert not mutate.parses("a = '\0'\n")


def test_an_edit_is_one_line_where_that_is_unique() -> None:
    """The shortest pair of whole lines is found."""
    bad, good = "a = 1\nb = 2\nc = 3\n", "a = 1\nb = 5\nc = 3\n"
    assert mutate.edit_pair(bad, good) == ("b = 2", "b = 5")


def test_an_edit_grows_until_it_is_unique() -> None:
    """A line that occurs twice takes its neighbour with it."""
    bad, good = "x()\nreturn a\ny()\nreturn a\n", "x()\nreturn a\ny()\nreturn b\n"
    assert mutate.edit_pair(bad, good) == ("y()\nreturn a", "y()\nreturn b")


def test_an_edit_grows_downwards_at_the_top_of_a_file() -> None:
    """Where there is nothing above, lines below make it unique."""
    assert mutate.edit_pair("a\na\nb", "c\na\nb") == ("a\na", "c\na")


def test_edits_repair_and_occur_once(rng: random.Random) -> None:
    """For many bugs, replacing `old` by `new` gives the good text, and `old` occurs once."""
    for template in textbook.trained_templates()[::9]:
        module = textbook.draw_module(rng, template, held_out=None)
        found = mutate.target_mutations(module.text, module.function.name)
        for mutation in rng.sample(found, min(5, len(found))):
            bad = mutation.apply(module.text)
            old, new = mutate.edit_pair(bad, module.text)
            assert bad.count(old) == 1
            assert bad.replace(old, new) == module.text
