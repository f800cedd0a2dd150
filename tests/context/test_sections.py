"""A text taken apart by kind."""

from qcn_agent.context.sections import sections_of

TEXT = """Crash when the pool is closed

It prints "pool is full" and `Pool.close()` hangs.

```python
from net import Pool
Pool().close()
```
Traceback (most recent call last):
  File "net/pool.py", line 3, in close
net.errors.PoolError: already closed
>>> pool.size
"""


def _by_kind(text: str) -> dict[str, str]:
    return {section.kind: section.text for section in sections_of(text)}


def test_each_kind_has_its_lines() -> None:
    """Title, prose, code, marked names, quotations, errors and traces."""
    assert _by_kind(TEXT) == {
        "title": "Crash when the pool is closed",
        "prose": 'Crash when the pool is closed\nIt prints "pool is full" and `Pool.close()` hangs.',
        "code": "from net import Pool\nPool().close()\n>>> pool.size",
        "error": "net.errors.PoolError: already closed",
        "trace": 'Traceback (most recent call last):\n  File "net/pool.py", line 3, in close',
        "marked": "Pool.close()",
        "quoted": "pool is full",
    }


def test_an_open_fence_is_code_to_the_end() -> None:
    """As Markdown has it."""
    assert _by_kind("Title\n~~~\nx = 1\ny = 2") == {"title": "Title", "prose": "Title", "code": "x = 1\ny = 2"}


def test_a_fence_on_one_line_opens_nothing() -> None:
    """Three backticks around a word are a mark in a sentence."""
    assert "code" not in _by_kind("Title\n```x = 1```\nprose again")


def test_apostrophes_are_no_quotation() -> None:
    """Only what stands between words' ends is quoted."""
    assert "quoted" not in _by_kind("It doesn't work, isn't it")
    assert _by_kind("It says 'no route' and “no host”")["quoted"] == "no route\nno host"


def test_an_empty_text_has_no_sections() -> None:
    """Nor has one of blanks."""
    assert sections_of("") == sections_of(" \n\n ") == ()
