"""Addressing a function inside a text."""

import ast

from qcn_agent.training.source_view import FunctionSource, Mutation

TEXT = "import os\n\n\ndef f(self, a, *, key=None):\n    b = a.size + a.get(key)\n    return (lambda c: c + b)('x')\n"


def view() -> FunctionSource:
    """The function of TEXT."""
    node = ast.parse(TEXT).body[1]
    assert isinstance(node, ast.FunctionDef)
    return FunctionSource(TEXT, node)


def test_names_are_parameters_and_assigned_variables() -> None:
    """self is no candidate for a wrong variable; parameters of lambdas are."""
    assert view().names == ["a", "b", "c", "key"]


def test_short_strings_are_collected() -> None:
    """String constants can stand in for each other."""
    assert view().strings == ["x"]


def test_segments_are_the_text_of_nodes() -> None:
    """Offsets lead to exactly the characters of a node."""
    source = view()
    returned = next(node for node in source.nodes if isinstance(node, ast.Return))
    assert source.segment(returned) == "return (lambda c: c + b)('x')"
    assert TEXT[source.start(returned) : source.end(returned)] == source.segment(returned)


def test_methods_and_attributes_are_told_apart() -> None:
    """A name that is called is a method."""
    assert view().attributes_of("a", called=True) == ["get"]
    assert view().attributes_of("a", called=False) == ["size"]


def test_nothing_is_yielded_for_no_change() -> None:
    """Putting the same text in place is no mutation."""
    source = view()
    returned = next(node for node in source.nodes if isinstance(node, ast.Return))
    assert list(source.replace(returned, source.segment(returned), "none")) == []
    assert [m.kind for m in source.replace(returned, "return b", "return")] == ["return"]


def test_a_mutation_replaces_its_span_only() -> None:
    """Text before and after stays as it is."""
    assert Mutation(2, 4, "XYZ", "test").apply("abcdef") == "abXYZef"
