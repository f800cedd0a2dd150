"""Nothing, a line or a block."""

import pytest

from qcn_agent.completion.decision import MAX_INVOKED_TOKENS, MAX_TOKENS, decide, is_in_text, max_tokens
from qcn_agent.completion.values import Kind, Trigger
from tests.fakes.cursor import at

AUTO, ASKED = Trigger.AUTOMATIC, Trigger.INVOKED
FUNCTION = "def f(a, b):\n    total = a + b\n{}\n    return total\n"


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("x = ¦\n", "a.py", Kind.LINE),
        ("x = f(¦)\n", "a.py", Kind.LINE),
        ("x = f(¦);\n", "a.js", Kind.LINE),
        ("x = f(¦, 2)\n", "a.py", Kind.LINE),
        ("ret¦urn x\n", "a.py", Kind.NONE),
        ("return ¦value\n", "a.py", Kind.NONE),
        ("return ¦ value\n", "a.py", Kind.LINE),
        ("def f(x):¦\n", "a.py", Kind.BLOCK),
        ("def f(x):\n    ¦\n", "a.py", Kind.BLOCK),
        ('def f(x):\n    """Doc."""\n    ¦\n', "a.py", Kind.BLOCK),
        (FUNCTION.format("    ¦"), "a.py", Kind.BLOCK),
        (FUNCTION.format("    to¦"), "a.py", Kind.LINE),
        ("if x:\n    y = 1\nelse:¦\n", "a.py", Kind.BLOCK),
        ("x = {\n    'a':¦\n}\n", "a.py", Kind.LINE),
        ("x = f(\n    ¦\n)\n", "a.py", Kind.LINE),
        ("x = [\n    1,\n    ¦\n]\n", "a.py", Kind.LINE),
        ("# a comment: ¦\n", "a.py", Kind.LINE),
        ("# a comment:¦\nx = 1\n", "a.py", Kind.LINE),
        ("x = 'a string:¦'\n", "a.py", Kind.LINE),
        ("x = 'a string:¦\n", "a.py", Kind.LINE),
        ('x = """\ntext:¦\n"""\n', "a.py", Kind.LINE),
        ("x = f'{a}:¦'\n", "a.py", Kind.LINE),
        ("¦\n", "a.py", Kind.BLOCK),
        ("import os\n\n¦\n", "a.py", Kind.BLOCK),
        ("function f(x) {¦\n}\n", "a.js", Kind.BLOCK),
        ("function f(x) {¦}\n", "a.js", Kind.BLOCK),
        ("function f(x) {\n  ¦\n}\n", "a.js", Kind.BLOCK),
        ("const f = (x) =>¦\n", "a.js", Kind.BLOCK),
        ("// note {¦\n", "a.js", Kind.LINE),
        ("const s = `text {¦`\n", "a.js", Kind.LINE),
        ("func f() {¦\n}\n", "a.go", Kind.BLOCK),
        ("fn f() -> u8 {¦\n}\n", "a.rs", Kind.BLOCK),
        ("int f() {\n\t¦\n}\n", "a.c", Kind.BLOCK),
        ("if [ -f x ]; then¦\nfi\n", "a.sh", Kind.BLOCK),
        ("if x then¦\nend\n", "a.lua", Kind.BLOCK),
        ("begin¦\n", "a.unknown", Kind.BLOCK),
        ("some words ¦\n", "a.unknown", Kind.LINE),
        ("say 'an open quote:¦\n", "a.unknown", Kind.LINE),
        ("; a comment:¦\n", "a.unknown", Kind.LINE),
    ],
)
def test_what_is_offered_automatically(text: str, path: str, expected: Kind) -> None:
    """By the tree, or by the line's text where no grammar reads the file or the tree is broken."""
    assert decide(at(text, path, "by path"), AUTO) is expected


def test_who_asks_gets_a_block() -> None:
    """Unless the line goes on behind the cursor."""
    assert decide(at("x = ¦\n"), ASKED) is Kind.BLOCK
    assert decide(at("x = ¦ + 1\n"), ASKED) is Kind.LINE
    assert decide(at("ret¦urn x\n"), ASKED) is Kind.LINE


def test_the_setting_goes_before_the_tree() -> None:
    """Never: lines only. Always: blocks wherever the line ends."""
    assert decide(at("def f():¦\n"), AUTO, "never") is Kind.LINE
    assert decide(at("x = ¦\n"), AUTO, "always") is Kind.BLOCK
    assert decide(at("x = ¦ + 1\n"), AUTO, "always") is Kind.LINE


def test_lengths_follow_from_kind_and_trigger() -> None:
    """A setting goes before all of them."""
    assert max_tokens(Kind.LINE, AUTO) == MAX_TOKENS[Kind.LINE] == 48
    assert max_tokens(Kind.BLOCK, AUTO) == 160
    assert max_tokens(Kind.BLOCK, ASKED) == MAX_INVOKED_TOKENS
    assert max_tokens(Kind.BLOCK, ASKED, 7) == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 'abc¦'\n", True),
        ("x = 'abc'¦\n", False),
        ("x = 1  # note ¦\n", True),
        ("x = 1 ¦\n# note\n", False),
        ("x = f'{val¦}'\n", False),
        ('x = "it\'s¦"\n', True),
    ],
)
def test_strings_and_comments_are_known(text: str, expected: bool) -> None:
    """The end of a string is outside of it, the end of a comment's line inside."""
    assert is_in_text(at(text)) is expected


def test_a_long_file_is_judged_by_what_is_near() -> None:
    """From a line on that is not indented."""
    text = "".join(f"def name_{n}(x):\n    return [x, {n}]\n\n" for n in range(2000))

    assert decide(at(text + "def last(x):\n    ¦\n"), AUTO) is Kind.BLOCK
    assert decide(at(text + "def last(x):\n    y = '¦'\n"), AUTO) is Kind.LINE
