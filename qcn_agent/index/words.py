"""Words: identifiers and what they are made of, in lower case, counted.

`parseHTTPHeader_v2` gives parsehttpheader_v2, parse, http, header, v2.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

FIELDS = ("path", "definitions", "docs", "body", "strings")
MAX_WORD_CHARS = 64
MAX_COUNT = 255  # a word that occurs more often in a field is stored as if it occurred so often

Counts = dict[str, int]

_IDENTIFIER = re.compile(r"[^\W\d]\w+")
_PART = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|[A-Z]\d*|\d+")
_CACHE_ENTRIES = 200_000


class WordSplitter:
    """Takes identifiers apart, and remembers how."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}

    def words_of(self, identifier: str) -> tuple[str, ...]:
        """The identifier and its parts of two characters or more, lower-cased, each once; none of an overlong one."""
        words = self._known.get(identifier)
        if words is None:
            if len(self._known) >= _CACHE_ENTRIES:
                self._known.clear()
            words = self._known[identifier] = _split(identifier)
        return words

    def count(self, identifiers: Mapping[str, int]) -> Counts:
        """How often each word occurs, where each identifier occurs as often as given."""
        counts: Counts = {}
        get, known, words_of = counts.get, self._known.get, self.words_of
        for identifier, number in identifiers.items():
            for word in known(identifier) or words_of(identifier):
                counts[word] = get(word, 0) + number
        return counts


def identifiers_of(text: str) -> Counter[str]:
    """The identifiers of two characters or more in a text, as they are written, counted."""
    return Counter(_IDENTIFIER.findall(text))


def names_in(text: str) -> frozenset[str]:
    """Its identifiers of two characters or more, not counted."""
    return frozenset(_IDENTIFIER.findall(text))


def path_words(path: str, splitter: WordSplitter) -> Counts:
    """The words of a path, counted."""
    return splitter.count(identifiers_of(path.encode("utf-8", "replace").decode()))


def words_of_text(text: str) -> list[str]:
    """The words of a text in the order of their first occurrence, each once."""
    splitter = WordSplitter()
    found: Iterable[str] = (word for name in identifiers_of(text) for word in splitter.words_of(name))
    return list(dict.fromkeys(found))


def _split(identifier: str) -> tuple[str, ...]:
    if len(identifier) > MAX_WORD_CHARS:
        return ()
    parts = _PART.findall(identifier) if identifier.isascii() else identifier.split("_")
    words = [identifier.lower(), *(part.lower() for part in parts if len(part) > 1)]
    return tuple(dict.fromkeys(words))
