"""The syntax gate and its worker."""

from pathlib import Path

import pytest

from qcn_tools.syntax import syntax_error
from qcn_tools.syntax_worker import problem


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (b"x = 1\n", None),
        (b"", None),
        (b"# coding: latin-1\nx = '\xe9'\n", None),
        (b"x = '\xe9'\n", 1),
        (b"x = 1\nreturn x\n", 2),
        (b"def f(:\n", 1),
        (b"x = 1\n\0", 1),
        (b"(" * 5000, 1),
    ],
)
def test_problem(source: bytes, line: int | None) -> None:
    """Whatever keeps source from compiling is a problem with a line, hostile input too."""
    found = problem(source)
    assert (found and found["line"]) == line


async def test_only_new_errors_count() -> None:
    """An error that was there before is nobody's fault, and only Python is judged."""
    good, bad = b"x = 1\n", b"x = (\n"
    answer = await syntax_error(Path("a.py"), "a.py", good, bad)
    assert answer is not None
    assert (answer.kind, answer.fields["path"], answer.fields["line"]) == ("edit_syntax_error", "a.py", 1)
    assert await syntax_error(Path("a.py"), "a.py", bad, bad) is None
    assert await syntax_error(Path("a.py"), "a.py", bad, good) is None
    assert await syntax_error(Path("a.js"), "a.js", good, bad) is None
