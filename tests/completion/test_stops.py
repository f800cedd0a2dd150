"""Where an answer ends before the model ends it."""

import pytest

from qcn_agent.completion.place import Place
from qcn_agent.completion.stops import cut, engine_stops, may_go_below
from qcn_agent.completion.values import Kind
from tests.fakes.cursor import at


def ended(text: str, said: str, kind: Kind = Kind.BLOCK, path: str = "a.py") -> str | None:
    """What is left of `said`; None where it may go on."""
    end = cut(said, Place(at(text, path), kind))
    return None if end is None else said[:end]


@pytest.mark.parametrize(
    ("text", "said", "expected"),
    [
        ("x = ¦\n", "foo(1)", None),
        ("x = ¦\n", "foo(1)\nbar", "foo(1)"),
        ("x = f(a)¦\n", "\ny = 2", None),
        ("x = f(a)¦\n", "\ny = 2\nz", "\ny = 2"),
        ("    ¦\n", "\n    y = 2\n", "\n    y = 2"),
        ("x = ¦\n", "f(1))", "f(1)"),
        ("x = f(¦\n", "1)", None),
        ("path = ¦\n", "'/src/a'", None),
    ],
)
def test_a_line_ends_with_its_line(text: str, said: str, expected: str | None) -> None:
    """A complete line before the cursor allows the next one; a bracket that closes nothing ends it at once."""
    assert ended(text, said, Kind.LINE) == expected


@pytest.mark.parametrize(
    ("text", "said", "expected"),
    [
        ("def f():¦\n", "\n    return 1\n", None),
        ("def f():¦\n", "\n    return 1\n\n\ndef g", "\n    return 1"),
        ("def f():¦\n", "\n    return 1\nx = 2\n", "\n    return 1"),
        ("def f():\n    ¦\n", "x = 1\n    y = 2\nz", "x = 1\n    y = 2"),
        ("def f():\n    ¦\n    return x\n", "x = 1\n    return x\n", "x = 1"),
        ("def f():\n    ¦\n", "x = 1\n    x = 1\n    x = 1\n", "x = 1\n    x = 1"),
        ("def f():\n    ¦\n", "x = 1\n\n\n\n    y = 2", "x = 1"),
    ],
)
def test_a_block_ends_with_its_scope(text: str, said: str, expected: str | None) -> None:
    """At lesser indentation, at the line that is below, at the third repetition, at a gap."""
    assert ended(text, said) == expected


def test_a_closing_brace_belongs_to_its_block() -> None:
    """Unless it is there already."""
    assert ended("if (x) {¦\n", "\n  a();\n}\nb();\n", path="a.js") == "\n  a();\n}"
    assert ended("if (x) {¦\n}\n", "\n  a();\n}\nb();\n", path="a.js") == "\n  a();"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = ¦\n", ("\n",)),
        ("f(a, ¦\n", ("\n",)),
        ("f(a,¦\n", ()),
        ("x = [¦\n", ()),
        ("x = f(a)¦\n", ()),
        ("retu¦\n", ()),
        ("    ¦\n", ("\n",)),
        ("f(¦)\n", ("\n",)),
    ],
)
def test_the_engine_stops_by_itself_where_only_this_line_is_wanted(text: str, expected: tuple[str, ...]) -> None:
    """No token too many; a line that may be complete is watched from here instead."""
    assert engine_stops(Place(at(text), Kind.LINE)) == expected
    assert engine_stops(Place(at(text), Kind.BLOCK)) == ()


def test_a_complete_line_may_go_on_below() -> None:
    """By its last character."""
    assert [may_go_below(Place(at(t), Kind.LINE)) for t in ("x = 1¦\n", "x +¦\n", "x = 1¦ + 2\n")] == [
        True,
        False,
        False,
    ]
