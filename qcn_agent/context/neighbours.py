"""One hop: files that belong to files which fit, by imports, tests and common changes."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from qcn_agent.context.evidence import Evidence
from qcn_agent.index.imports import Import, import_key
from qcn_agent.index.pairs import nearness, stem_under_test
from qcn_agent.index.relations import RelationReader
from qcn_agent.index.resolve import ImportResolver, keys_of
from qcn_agent.index.rows import IndexedFile
from qcn_agent.index.store import folder_of, stem_of

_TESTED, _CHANGED, _IMPORTED = 1.0, 0.8, 0.8
_MAX_COCHANGED = 8
_NUM_ASKED = 4  # files whose imports are sought in the whole index
_MAX_FOUND = 100
_IMPORTS = "is imported by"


class Known:
    """Files to look for neighbours among, found by parts of their path without asking the database."""

    def __init__(self, files: Iterable[IndexedFile]) -> None:
        self._by_ending: dict[str, list[IndexedFile]] = defaultdict(list)  # the stem, with and without its folder
        self._by_folder: dict[str, list[IndexedFile]] = defaultdict(list)
        self._keys: set[str] = set()
        for file in files:
            stem, folder = stem_of(file.path), folder_of(file.path)
            self._by_ending[stem].append(file)
            self._by_ending[f"{folder.rpartition('/')[2]}/{stem}"].append(file)
            self._by_folder[folder].append(file)
            self._keys.update(keys_of(file.path))

    def narrowed(self, found: Import) -> Import | None:
        """The import with those of its names that a file goes by; None where no file can be meant, as in most cases."""
        names = self._keys.intersection(found.names)
        if not names and import_key(found.module) not in self._keys:
            return None
        return Import(found.module, tuple(sorted(names)), found.line)

    def ending(self, ending: str) -> Sequence[IndexedFile]:
        """As IndexReader.files_ending, in no order."""
        folder, _, stem = ending.rpartition("/")
        outer, _, inner = folder.rpartition("/")
        found = self._by_ending.get(f"{inner}/{stem}" if folder else stem, [])
        return [file for file in found if f"/{folder_of(file.path)}".endswith(f"/{folder}")] if outer else found

    def in_folder(self, folder: str) -> Sequence[IndexedFile]:
        """As IndexReader.files_in, in no order."""
        return self._by_folder.get(folder, [])


def neighbours_of(index: RelationReader, scores: Mapping[int, float], known: Mapping[int, IndexedFile]) -> Evidence:
    """Evidence from some files (their scores, 0 .. 1) for those one hop away; both ends of an import get it.

    Imported and tested files are sought among the known ones, those that the first _NUM_ASKED files import in the whole
    index; files that change together may be any.
    """
    imports = {file_id: index.imports_in(file_id) for file_id in scores}
    asked = {key for file_id in list(scores)[:_NUM_ASKED] for one in imports[file_id] for key in one.keys}
    evidence, places = Evidence(), Known([*known.values(), *_unknown(index, asked, known)])
    for file_id, score in scores.items():
        path = known[file_id].path
        for other_id, share, reason in _edges(index, known[file_id], imports[file_id], places):
            evidence.add(other_id, score * share, f"{reason} {path}")
            if reason == _IMPORTS and other_id in scores:
                evidence.add(file_id, scores[other_id] * share, f"imports {known[other_id].path}")
    return evidence


def _unknown(index: RelationReader, stems: Collection[str], known: Mapping[int, IndexedFile]) -> list[IndexedFile]:
    return [file for file in index.files_with_stems(stems, _MAX_FOUND) if file.file_id not in known]


def _edges(
    index: RelationReader, file: IndexedFile, imports: Sequence[Import], places: Known
) -> Iterator[tuple[int, float, str]]:
    """(file_id, share, reason up to the path) of what is one hop from a file."""
    stem = stem_under_test(file.path)
    for source in places.ending(stem) if stem else ():
        if stem_under_test(source.path) is None:
            yield source.file_id, _TESTED * nearness(source.path, file.path), "is tested by"
    resolver = ImportResolver(places.ending, places.in_folder)
    likely = [narrowed for one in imports if (narrowed := places.narrowed(one))]
    imported = {other.file_id for one in likely for other in resolver.resolve(file, one)}
    for other_id in imported:
        yield other_id, _IMPORTED / math.sqrt(1 + len(imported)), _IMPORTS
    for other in index.cochanged(file.file_id, _MAX_COCHANGED):
        yield other.file_id, _CHANGED * min(1.0, other.weight), "changes together with"
