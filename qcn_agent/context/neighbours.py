"""One hop: files that belong to files which fit, by imports, tests and common changes."""

import math
from collections.abc import Iterator, Mapping, Sequence

from qcn_agent.context.evidence import Evidence
from qcn_agent.index.pairs import is_test
from qcn_agent.index.relations import RelationReader
from qcn_agent.index.rows import IndexedFile

_TESTED, _CHANGED, _IMPORTED = 1.0, 0.8, 0.8
_MAX_COCHANGED = 8
_IMPORTS = "is imported by"


def neighbours_of(index: RelationReader, scores: Mapping[int, float], paths: Mapping[int, str]) -> Evidence:
    """Evidence from the given files (their scores, 0 .. 1) for files one hop away; both ends of an import get it."""
    evidence = Evidence()
    imports = index.imports_of_each(scores)
    for file_id in sorted(scores, key=lambda one: (-scores[one], paths[one])):
        for other_id, share, reason in _edges(index, file_id, paths[file_id], imports[file_id]):
            evidence.add(other_id, scores[file_id] * share, f"{reason} {paths[file_id]}")
            if reason == _IMPORTS and other_id in scores:
                evidence.add(file_id, scores[other_id] * share, f"imports {paths[other_id]}")
    return evidence


def _edges(
    index: RelationReader, file_id: int, path: str, imported: Sequence[IndexedFile]
) -> Iterator[tuple[int, float, str]]:
    """(file_id, share, reason up to the path) of what is one hop from a file."""
    if is_test(path):
        for source in index.sources_of(file_id):
            yield source.file_id, _TESTED * source.weight, "is tested by"
    for file in imported:
        yield file.file_id, _IMPORTED / math.sqrt(1 + len(imported)), _IMPORTS
    for other in index.cochanged(file_id, _MAX_COCHANGED):
        yield other.file_id, _CHANGED * min(1.0, other.weight), "changes together with"
