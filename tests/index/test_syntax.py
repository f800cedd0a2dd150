"""Trees, faults, and what lies around a position."""

import pytest

from qcn_agent.index.limits import MAX_BYTES
from qcn_agent.index.syntax import block_end, enclosing, faults, new_faults, parse

CODE = b"def f(x):\n    if x:\n        return 1\n    return 2\n\ny = 3\n"


def test_a_clean_file_has_no_faults() -> None:
    """Of any language with a grammar."""
    tree = parse(CODE, "python")

    assert tree is not None
    assert faults(tree) == ()


@pytest.mark.parametrize(
    ("language", "before", "after", "line"),
    [
        ("python", b"x = (1)\n", b"x = (1\n", 1),
        ("javascript", b"f();\ng();\n", b"f();\ng(;\n", 2),
        ("typescript", b"const a: T = 1;\n", b"const a: = 1;\n", 1),
        ("go", b"package a\nfunc f() {}\n", b"package a\nfunc f() {\n", 2),
        ("rust", b"fn f() {}\n", b"fn f() { let }\n", 1),
        ("java", b"class A { int x; }\n", b"class A { int ; }\n", 1),
        ("c", b"int x = 1;\n", b"int x = 1\n", 1),
        ("ruby", b"def a\nend\n", b"def a\n", 1),
    ],
)
def test_the_gate_names_what_an_edit_broke(language: str, before: bytes, after: bytes, line: int) -> None:
    """The first fault's line; the same edit backwards is no fault."""
    found = new_faults(before, after, language)

    assert found
    assert found[0].line == line
    assert new_faults(after, before, language) == ()


def test_the_gate_lets_pass_what_was_broken_before() -> None:
    """A file that never parsed is not the edit's fault."""
    assert new_faults(b"def (:\n", b"def (((:\n", "python") == ()


def test_the_gate_lets_pass_what_it_can_not_judge() -> None:
    """Without a grammar nothing is claimed."""
    assert new_faults(b"a", b"(((", "text") == ()


def test_a_missing_token_is_named() -> None:
    """What the grammar had to imagine."""
    found = new_faults(b"int x = 1;\n", b"int x = 1\n", "c")

    assert [(fault.is_missing, fault.text) for fault in found] == [(True, ";")]


def test_faults_have_a_limit() -> None:
    """A file of nonsense gives a few."""
    tree = parse(b"def (:\n" * 500, "python")

    assert tree is not None
    assert 0 < len(faults(tree)) <= 20


def test_enclosing_goes_from_the_inside_out() -> None:
    """Spans in bytes and lines, the whole file last."""
    tree = parse(CODE, "python")
    assert tree is not None

    spans = enclosing(tree, CODE.index(b"return 1"))

    kinds = [span.kind for span in spans]
    assert kinds[-1] == "module"
    assert kinds.index("if_statement") < kinds.index("function_definition")
    function = spans[kinds.index("function_definition")]
    assert (function.start_line, function.end_line) == (1, 4)
    assert CODE[function.start_byte : function.end_byte].endswith(b"return 2")


@pytest.mark.parametrize(
    ("inside", "end"), [(b"return 1", b"return 1"), (b"return 2", b"return 2"), (b"y =", b"y = 3\n")]
)
def test_a_block_ends_where_its_statements_do(inside: bytes, end: bytes) -> None:
    """The innermost block around a position; outside of all blocks the file."""
    tree = parse(CODE, "python")
    assert tree is not None

    assert CODE[: block_end(tree, CODE.index(inside))].endswith(end)


def test_what_is_too_large_has_no_tree() -> None:
    """Bytes over the limit are not parsed."""
    assert parse(b"x" * (MAX_BYTES + 1), "python") is None


def test_a_parse_that_takes_too_long_is_given_up() -> None:
    """The next one starts afresh."""
    assert parse(b"x = [" + b"(1, 2), " * 100_000 + b"]", "python", max_s=0.0) is None
    assert parse(b"x = 1\n", "python") is not None


@pytest.mark.parametrize("source", [b"", b"\0" * 100, b"(" * 50_000, b"\xff\xfe" * 1000, b"{" * 20_000])
@pytest.mark.parametrize("language", ["python", "javascript", "c"])
def test_hostile_bytes_end_well(language: str, source: bytes) -> None:
    """Deep nesting and garbage give a tree or None."""
    tree = parse(source, language)

    assert tree is None or tree.root_node.end_byte <= len(source)
