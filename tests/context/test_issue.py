"""An issue's text as a query."""

import time

import pytest

from qcn_agent.context.issue import MAX_CHARS, MAX_NAMES, query_of
from qcn_agent.context.weights import IssueWeights

TEXT = """Retry ignores the header

`Retry.increment()` in net/util/retry.py never reads `max_age`, e.g. with net.pool.HTTPPool.
It says "header is missing".

```python
from net.util import Retry, Timeout as T
import net.api, os
Retry(3)
```
"""


def test_what_the_text_points_at_is_found() -> None:
    """Paths, dotted names, what example code imports; abbreviations and file names are no modules."""
    query = query_of(TEXT)

    assert query.paths == ("net/util/retry.py",)
    assert query.modules == ("Retry.increment", "net.pool.HTTPPool", "net.util", "net.api")
    assert query.imports == ("net.util", "net.util.Retry", "net.util.Timeout", "net.util.T", "net.api", "os")
    assert query.frames == ()


def test_names_weigh_by_where_they_stand() -> None:
    """A marked name more than one that looks like an identifier, that more than a mere word."""
    names = query_of("the loader fails\nwhen `loads` meets some_name and word", IssueWeights(marked=1.5)).names

    assert names["loads"] > names["some_name"] > names["word"] > 0


def test_words_are_those_of_the_index() -> None:
    """Lower-case, whole identifiers and their parts; the title's count more."""
    query = query_of("Broken title\nparseHTTPHeader is slow", IssueWeights(title=1.5, prose=0.5))

    assert {"parsehttpheader", "parse", "http", "header", "slow"} <= set(query.words)
    assert query.words["broken"] > query.words["slow"]
    assert query.words["parsehttpheader"] == query.words["header"] == 0.5


def test_quoted_words_are_those_of_quotations_and_errors() -> None:
    """They may be in a string of the code."""
    quoted = query_of('It says "header is missing".\nnet.PoolError: queue closed').quoted

    assert {"header", "missing", "queue", "closed"} <= set(quoted)
    assert "says" not in quoted


def test_paths_of_frames_are_not_counted_twice() -> None:
    """A traceback's files are frames; a path beside it is a path."""
    query = query_of('see docs/guide.md\n  File "/lib/net/pool.py", line 3, in close')

    assert query.paths == ("docs/guide.md",)
    assert [frame.path for frame in query.frames] == ["/lib/net/pool.py"]


def test_weights_are_used() -> None:
    """Other weights, other words."""
    query = query_of("title here\nbody here", IssueWeights(title=3.0, prose=0.5))

    assert query.words == {"title": 3.0, "here": 3.0, "body": 0.5}


def test_an_empty_text_asks_for_nothing() -> None:
    """No words, no names, no error."""
    query = query_of(" \n")

    assert (query.words, query.names, query.paths, query.frames) == ({}, {}, (), ())


HOSTILE = {
    "backticks": "`" * 10**6,
    "control characters": "".join(map(chr, range(32))) * 30_000,
    "surrogates": "\udcff\ud800" * 500_000,
    "one path": "a/" * 500_000,
    "one dotted name": "a." * 500_000,
    "colons": "a::" * 300_000,
    "open quotations": "“a" * 500_000,
    "open frames": 'File "' * 200_000,
    "short lines": "a\n" * 500_000,
    "unlike names": " ".join(f"n{number}_x" for number in range(150_000)),
    "goroutines": "a(b)\n\t" * 200_000,
    "imports": ">>> import " + "a," * 400_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_text_costs_little(kind: str) -> None:
    """A megabyte of anything is read in the time of its first part; far less than a second even on a busy machine."""
    started = time.process_time()

    query = query_of(HOSTILE[kind])

    assert time.process_time() - started < 0.5
    assert len(query.names) <= MAX_NAMES


def test_head_and_tail_of_a_long_text_are_read() -> None:
    """The title is in one, the error in the other."""
    query = query_of("first_word\n" + "filler " * MAX_CHARS + "\nlast_word")

    assert {"first_word", "last_word"} <= set(query.words)
