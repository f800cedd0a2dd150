"""The kinds of single-line bugs, each on the line it is about."""

import ast

import pytest

from qcn_agent.training.mutate import WEIGHTS, mutations
from qcn_agent.training.mutation_kinds import KINDS


def bugs(line: str, kind: str) -> set[str]:
    """What `kind` makes of one line of a function."""
    text = f"def f(a, b, items):\n    {line}\n"
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    found = [mutation for mutation in mutations(text, node) if mutation.kind == kind]
    return {mutation.apply(text).split("\n")[1].strip() for mutation in found}


@pytest.mark.parametrize(
    ("kind", "line", "expected"),
    [
        ("compare", "return a < b", {"return a <= b", "return a > b"}),
        ("compare", "return a not in items", {"return a in items"}),
        ("arith", "return a // b", {"return a / b", "return a % b", "return a * b"}),
        ("offby1", "return a + 1", {"return a"}),
        ("aug", "a += b", {"a = b", "a -= b"}),
        ("bool", "return a and b", {"return a or b"}),
        ("negate", "return not a", {"return a"}),
        ("negate", "return -a", {"return a"}),
        ("const", "return 7", {"return 6", "return 8", "return 70"}),
        ("const", "return True", {"return False"}),
        ("string", 'return ""', {'return " "'}),
        ("variable", "return a", {"return b", "return items"}),
        ("call", "return min(items)", {"return max(items)"}),
        ("call", "return a.upper()", {"return a.lower()"}),
        ("index", "return items[a]", {"return items[a + 1]", "return items[a - 1]"}),
        ("slice", "return items[a:]", {"return items[:a]"}),
        ("slice", "return items[:b]", {"return items[b:]"}),
        ("range", "return range(a)", {"return range(a - 1)", "return range(a + 1)", "return range(1, a)"}),
        ("unwrap", "return sorted(items)", {"return items"}),
        ("unwrap", "return a.strip()", {"return a"}),
        ("swap", "return f(a, b)", {"return f(b, a)"}),
        ("return", "return a + b", {"return a", "return b", "return items"}),
    ],
)
def test_a_kind_makes_its_bugs(kind: str, line: str, expected: set[str]) -> None:
    """Each kind changes what it is about, in every way it knows."""
    assert bugs(line, kind) == expected


def test_the_condition_of_an_if_is_negated() -> None:
    """A plain test of if, while or a conditional expression gets a `not`."""
    assert bugs("return a if b else items", "negate") == {"return a if not b else items"}


def test_break_and_continue_are_exchanged() -> None:
    """Flow statements turn into each other."""
    text = "def f(items):\n    for a in items:\n        if a:\n            break\n"
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert [m.apply(text).splitlines()[-1].strip() for m in mutations(text, node) if m.kind == "flow"] == ["continue"]


def test_attributes_are_exchanged_within_their_own_group() -> None:
    """A method is only replaced by another method of the same variable, an attribute by an attribute."""
    found = bugs("return a.low + a.high + a.size() + a.area()", "attribute")
    assert "return a.high + a.high + a.size() + a.area()" in found
    assert "return a.low + a.high + a.area() + a.area()" in found
    assert not any("a.size + " in line or "a.low()" in line for line in found)


def test_lines_that_are_not_ascii_are_left_alone() -> None:
    """ast counts columns in bytes, so a line with an umlaut can't be addressed."""
    assert bugs('return a + "ü" < b', "compare") == set()


def test_docstrings_are_left_alone() -> None:
    """Nothing is changed inside a docstring."""
    text = 'def f(a):\n    """Add 1 and 2."""\n    return a\n'
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert mutations(text, node) == []


def test_every_kind_has_a_weight() -> None:
    """What a kind yields can be drawn: its name is in the table of weights."""
    text = (
        "def f(a, b, items, x=0):\n"
        "    a.p += a.q + a.r() + a.s() - 1\n"
        "    for i in range(len(items)):\n"
        "        if not a and b < items[i]:\n"
        "            break\n"
        '    x = sorted(items[1:]) + max(a, b) * len(" ")\n'
        "    return x + 2\n"
    )
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert {mutation.kind for mutation in mutations(text, node)} == set(WEIGHTS)
    assert sum(map(len, KINDS.values())) >= len(WEIGHTS)
