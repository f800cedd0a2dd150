"""Code that looks like what is being written, for completion: fast, by words."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from qcn_agent.index.files import read_file
from qcn_agent.index.reader import IndexReader
from qcn_agent.index.words import names_in, words_of_text

WINDOW_LINES = 20
_MAX_FILES = 4
_MAX_FILE_BYTES = 100_000
_MAX_WORDS, _MAX_POSTINGS = 24, 2000


@dataclass(frozen=True)
class Similar:
    """Lines start .. end (from 1, inclusive) of a file; `score` is the Jaccard index of the identifiers, 0 .. 1."""

    path: str
    start_line: int
    end_line: int
    score: float
    text: str


def similar_code(
    reader: IndexReader, workspace: Path, text: str, language: str, limit: int, exclude: str = ""
) -> list[Similar]:
    """The best windows of WINDOW_LINES of files in `language`, one a file, best first; never of the file `exclude`."""
    words = words_of_text(text)
    frequencies = reader.corpus_stats(words).document_frequencies
    rare = _rarest(frequencies)
    wanted = names_in(text)
    found: list[Similar] = []
    for file_id, _score in reader.candidates(dict.fromkeys(rare, 1.0), 8 * _MAX_FILES):
        file = reader.file(file_id)
        if file and file.language == language and file.path != exclude and file.size <= _MAX_FILE_BYTES:
            window = _best_window(workspace, file.path, wanted)
            found.extend([window] if window else [])
            if len(found) >= _MAX_FILES:
                break
    return sorted(found, key=lambda one: (-one.score, one.path))[:limit]


def _rarest(frequencies: Mapping[str, int]) -> list[str]:
    """The words in the fewest files, as long as these are not too many together."""
    order = sorted((count, word) for word, count in frequencies.items() if count)[:_MAX_WORDS]
    sums = accumulate(count for count, _word in order)
    count = max(1, sum(total <= _MAX_POSTINGS for total in sums))
    return [word for _count, word in order[:count]]


def _best_window(workspace: Path, path: str, wanted: frozenset[str]) -> Similar | None:
    read = read_file(workspace / os.fspath(path))
    if read is None or read[1] is None:
        return None
    lines = read[1].decode("utf-8", "replace").splitlines()
    scored = ((_jaccard(names, wanted), -start) for start, names in _windows(lines))
    score, negative = max(scored, default=(0.0, 0))
    start, end = -negative, min(len(lines), WINDOW_LINES - negative)
    return Similar(path, start + 1, end, score, "\n".join(lines[start:end])) if score > 0 else None


def _windows(lines: Sequence[str]) -> Iterator[tuple[int, frozenset[str]]]:
    """(first line from 0, identifiers) of windows that overlap by half."""
    half = WINDOW_LINES // 2
    halves = [names_in("\n".join(lines[at : at + half])) for at in range(0, len(lines), half)]
    for number, names in enumerate(halves):
        yield number * half, names | (halves[number + 1] if number + 1 < len(halves) else frozenset())


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / (len(one | other) or 1)
