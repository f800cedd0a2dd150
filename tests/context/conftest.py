"""One small workspace, ranked by all tests of the room."""

from collections.abc import Iterator

import pytest

from qcn_agent.index.index import Index
from tests.fakes.indexed import IndexedTree, indexed

RETRY = '''"""When to try again."""

from net.errors import MaxRetryError


class Retry:
    """How often, and after which delay."""

    def increment(self, method, error=None):
        """One more try."""
        if self.total == 0:
            raise MaxRetryError("too many redirects")
        return self.total - 1

    def delay(self):
        """Seconds to sleep between tries."""
        return self.backoff * 2
'''
POOL = '''"""Connections that are kept."""

from net.util.retry import Retry


class Pool:
    """Lends connections."""

    def urlopen(self, method, url):
        """Ask the server, again if need be."""
        retries = Retry(3)
        while True:
            retries = retries.increment(method)

    def close(self):
        """Give all back."""
        self.queue.drain()
'''
COOKIES = '''"""Cookies."""


def parse_cookie(header):
    """A header as a dictionary."""
    return header.split(";")
'''
TEST = """from net.util.retry import Retry


def test_increment_retry():
    assert Retry(3).increment("GET")
"""
FILES = {
    "net/__init__.py": "",
    "net/util/__init__.py": "",
    "net/util/retry.py": RETRY,
    "net/pool.py": POOL,
    "net/errors.py": "class MaxRetryError(Exception):\n    pass\n\n\nclass PoolError(Exception):\n    pass\n",
    "net/cookies.py": COOKIES,
    "tests/test_retry.py": TEST,
    "docs/retry.md": "# Retry\n\nRetry and its increment and delay: how to retry, and the delay of a retry.\n",
}


@pytest.fixture(scope="package")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexedTree]:
    """The workspace, indexed once; tests only read."""
    with indexed(tmp_path_factory.mktemp("context") / "w", FILES) as built:
        yield built


@pytest.fixture
def index(tree: IndexedTree) -> Iterator[Index]:
    """Its index."""
    opened = tree.index()
    yield opened
    opened.close()
