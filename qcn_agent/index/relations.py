"""Which files belong together: imports, tests and their sources, files that change together."""

from collections.abc import Iterable
from functools import cache

from qcn_agent.index.pairs import is_test, nearness, stem_under_test, stems_of_tests
from qcn_agent.index.reader import IndexReader
from qcn_agent.index.resolve import ImportResolver, keys_of
from qcn_agent.index.rows import IndexedFile, Related

_MAX_TESTS = 20
_IMPORTED_ALSO = 0.5


class RelationReader(IndexReader):
    """Queries from a file to other files; all results are of files that exist in the index now."""

    def imports_of(self, file_id: int) -> list[IndexedFile]:
        """Files that a file imports, as far as paths tell, sorted by path."""
        return self.imports_of_each([file_id])[file_id]

    def imports_of_each(self, file_ids: Iterable[int]) -> dict[int, list[IndexedFile]]:
        """`imports_of` for several files; faster than one by one, as they import much the same."""
        found: dict[int, list[IndexedFile]] = {}
        with self._reading():
            resolver = ImportResolver(cache(self.files_ending), cache(self.files_in))
            for file_id in file_ids:
                importer = self.file(file_id)
                targets = (resolver.resolve(importer, one) for one in self.imports_in(file_id)) if importer else ()
                found[file_id] = _by_path(file for files in targets for file in files)
        return found

    def importers_of(self, file_id: int) -> list[IndexedFile]:
        """Files that import a file, sorted by path."""
        with self._reading():
            target = self.file(file_id)
            if target is None:
                return []
            keys = set(keys_of(target.path))
            possible = sorted({importer for key in keys for importer in self.importing_key(key)})
            found = [self.file(importer) for importer in possible if self._imports(importer, keys, file_id)]
        return _by_path(file for file in found if file is not None)

    def _imports(self, importer_id: int, keys: set[str], target_id: int) -> bool:
        """Whether one of a file's imports that go by one of the keys means the target."""
        importer = self.file(importer_id)
        if importer is None:
            return False
        resolver = ImportResolver(self.files_ending, self.files_in)
        likely = (found for found in self.imports_in(importer_id) if keys & set(found.keys))
        return any(file.file_id == target_id for found in likely for file in resolver.resolve(importer, found))

    def tests_of(self, file_id: int) -> list[Related]:
        """Test files of a source file, by name and folder; the nearest first. One that imports it counts more."""
        with self._reading():
            source = self.file(file_id)
            if source is None or is_test(source.path):
                return []
            named = [file for stem in stems_of_tests(source.path) for file in self.files_with_stem(stem)]
            tests = [file for file in _by_path(named) if is_test(file.path)]
            keys = set(keys_of(source.path))
            importers = {file.file_id for file in tests if self._imports(file.file_id, keys, file_id)}
            return _ranked(source.path, tests, importers)

    def sources_of(self, file_id: int) -> list[Related]:
        """The files that a test file tests, by name and folder, the nearest first."""
        with self._reading():
            test = self.file(file_id)
            stem = stem_under_test(test.path) if test else None
            if test is None or stem is None:
                return []
            sources = [file for file in self.files_with_stem(stem) if not is_test(file.path)]
            imported = {file.file_id for file in self.imports_of(file_id)}
            return _ranked(test.path, sources, imported)

    def cochanged(self, file_id: int, limit: int = 20) -> list[Related]:
        """Files that commits changed together with this one, strongest first."""
        with self._reading():
            found = [(self.file(other_id), weight) for other_id, weight in self.cochanged_ids(file_id)]
        return [Related(file.file_id, file.path, weight) for file, weight in found if file is not None][:limit]


def _by_path(files: Iterable[IndexedFile]) -> list[IndexedFile]:
    unique = {file.path: file for file in files}
    return [unique[path] for path in sorted(unique)]


def _ranked(path: str, files: Iterable[IndexedFile], linked: set[int]) -> list[Related]:
    """By nearness of the folders and by whether an import links them."""
    related = [
        Related(
            file.file_id,
            file.path,
            (nearness(path, file.path) + (file.file_id in linked) * _IMPORTED_ALSO) / (1 + _IMPORTED_ALSO),
        )
        for file in files
    ]
    return sorted(related, key=lambda one: (-one.weight, one.path))[:_MAX_TESTS]
