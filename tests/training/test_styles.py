"""Ways of writing the same function."""

import ast
import dataclasses
import random

from qcn_agent.training.styles import Style, styled

BODY = 'def f(items, n):\n    for x in items:\n        if x == "a":\n            return n\n    return ""'
PLAIN = Style(0.0, False, "none", "Tail.", False, False, '"', 4)


def test_a_plain_style_changes_nothing() -> None:
    """No docstring, no hints, double quotes, four spaces: the body itself."""
    assert styled(BODY, "Do it.", PLAIN) == BODY


def test_a_docstring_says_what_the_function_does() -> None:
    """One line, or a paragraph with the tail."""
    line = styled(BODY, "Do it.", dataclasses.replace(PLAIN, docstring="line"))
    paragraph = styled(BODY, "Do it.", dataclasses.replace(PLAIN, docstring="paragraph"))
    for text, expected in ((line, "Do it."), (paragraph, "Do it.\n\nTail.")):
        node = ast.parse(text).body[0]
        assert isinstance(node, ast.FunctionDef)
        assert ast.get_docstring(node) == expected


def test_a_comment_stands_above() -> None:
    """Without a docstring the description may be a comment."""
    assert styled(BODY, "Do it.", dataclasses.replace(PLAIN, comment=True)).startswith("# Do it.\ndef f(")


def test_hints_follow_the_names() -> None:
    """Known parameter names get their usual types."""
    assert "def f(items: list, n: int):" in styled(BODY, "Do it.", dataclasses.replace(PLAIN, hints=True))


def test_single_quotes_keep_the_meaning() -> None:
    """Strings are rewritten, the program stays the same."""
    text = styled(BODY, "Do it.", dataclasses.replace(PLAIN, quote="'"))
    assert "'a'" in text and '"' not in text
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(BODY))


def test_two_spaces_keep_the_meaning() -> None:
    """Indentation is halved, the program stays the same."""
    text = styled(BODY, "Do it.", dataclasses.replace(PLAIN, indent=2))
    assert "\n  for x in items:\n    if" in text
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(BODY))


def test_usual_styles_are_drawn_often() -> None:
    """Most functions have a docstring and four spaces."""
    rng = random.Random(1)
    styles = [Style.draw(rng) for _ in range(300)]
    assert sum(style.docstring != "none" for style in styles) > 200
    assert sum(style.indent == 4 for style in styles) > 270
    assert {style.quote for style in styles} == {'"', "'"}
