"""From an import's text to files of the workspace, by their paths alone.

Asked of the database, not of a graph: an edge is never stale, because it is found when it is asked for.
"""

import posixpath
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache

from qcn_agent.index.imports import Import
from qcn_agent.index.rows import IndexedFile

FindEnding = Callable[[str], Sequence[IndexedFile]]
FindInFolder = Callable[[str], Sequence[IndexedFile]]

_SCRIPT = ("javascript", "typescript", "tsx")
_PACKAGE_STEMS = {"python": ("__init__",), "rust": ("mod", "lib"), **dict.fromkeys(_SCRIPT, ("index",))}
_ALL_PACKAGE_STEMS = frozenset(stem for stems in _PACKAGE_STEMS.values() for stem in stems)
_FAMILIES = (_SCRIPT, ("c", "cpp"), ("java", "kotlin", "scala"))


class ImportResolver:
    """Finds the files that an import of a file may mean: the best ones, none where nothing fits.

    `ending` gives the files whose path without extension ends with something, `in_folder` those right in a folder.
    """

    def __init__(self, ending: FindEnding, in_folder: FindInFolder) -> None:
        self._ending, self._in_folder = ending, in_folder

    def resolve(self, importer: IndexedFile, found: Import) -> list[IndexedFile]:
        """Files of the importer's language family, never the importer itself, sorted by path."""
        if importer.language == "go":
            targets = self._go_package(found.module)
        else:
            candidates = module_paths(importer.path, importer.language, found)
            name = posixpath.basename(found.module)
            targets = [file for path in candidates for file in self._at(importer, path, name)]
        unique = {file.path: file for file in targets if file.file_id != importer.file_id}
        return [unique[path] for path in sorted(unique)]

    def _go_package(self, module: str) -> list[IndexedFile]:
        """All files of the folder that the import path ends with, the longest such folder."""
        parts = module.split("/")
        for start in range(len(parts)):
            files = [file for file in self._in_folder("/".join(parts[start:])) if file.language == "go"]
            if files:
                return [file for file in files if not file.path.endswith("_test.go")]
        return []

    def _at(self, importer: IndexedFile, path: str, name: str) -> list[IndexedFile]:
        """The file whose path, without extension, ends with `path`.

        Of several the one that is called `name`, extension included, then the one nearest to the importer.
        """
        suffix, is_rooted = path.lstrip("/"), path.startswith("/")

        def order(file: IndexedFile) -> tuple[bool, int, int, str]:
            return (
                posixpath.basename(file.path) != name,
                -_common(file.path, importer.path),
                len(file.path),
                file.path,
            )

        for ending in (suffix, *(f"{suffix}/{stem}" for stem in _PACKAGE_STEMS.get(importer.language, ()))):
            fitting = [file for file in self._ending(ending) if _fits(file, importer, ending, is_rooted)]
            if fitting:
                return fitting if len(fitting) == 1 else [min(fitting, key=order)]
        return []


def module_paths(importer: str, language: str, found: Import) -> list[str]:
    """Paths without extension that an import may mean; one with a slash in front counts from the workspace's root."""
    folder, module = posixpath.dirname(importer), found.module
    if language == "python":
        return _python_paths(folder, module, found.names)
    if language == "rust":
        return _rust_paths(importer, module, found.names)
    if language in (*_SCRIPT, "c", "cpp", "ruby", "php", "lua", "bash"):
        return _file_paths(folder, language, module)
    return [module.replace(".", "/"), *(f"{module.replace('.', '/')}/{name}" for name in found.names)]


def _python_paths(folder: str, module: str, names: Sequence[str]) -> list[str]:
    bare = module.lstrip(".")
    num_dots = len(module) - len(bare)
    base = bare.replace(".", "/")
    if num_dots:
        parts = folder.split("/") if folder else []
        above = parts[: len(parts) - (num_dots - 1)] if num_dots > 1 else parts
        base = "/" + "/".join([*above, base] if base else above)
    elif bare.partition(".")[0] in sys.stdlib_module_names:
        return ["/" + base, "/" + posixpath.join(folder, base)]
    return [base.rstrip("/"), *(f"{base.rstrip('/')}/{name}" for name in names if name != "*")]


def _rust_paths(importer: str, module: str, names: Sequence[str]) -> list[str]:
    """`crate::a::b` is src/a/b.rs or src/a.rs; `self::` and `super::` count from the importer."""
    folder, name = posixpath.split(posixpath.splitext(importer)[0])
    own = folder if name in ("mod", "lib", "main") else posixpath.join(folder, name)
    parts = module.split("::")
    if parts[0] == "self":
        places = ["/" + posixpath.join(own, *parts[1:]), "/" + posixpath.join(folder, *parts[1:])]
    elif parts[0] == "super":
        places = ["/" + posixpath.normpath(posixpath.join(own, "..", *parts[1:]))]
    elif parts[0] == "crate" or len(parts) > 1:
        places = ["/".join(parts[1:]), "/".join(parts[1:-1])]
    else:
        return []
    return [path for place in places if place.strip("/") for path in (place, *(f"{place}/{name}" for name in names))]


def _file_paths(folder: str, language: str, module: str) -> list[str]:
    """Relative to the importer's folder first, then as the end of some path."""
    bare = posixpath.splitext(module)[0] if "." in posixpath.basename(module).lstrip(".") else module
    bare = bare.replace(".", "/") if language == "lua" and "/" not in bare else bare
    relative = "/" + posixpath.normpath(posixpath.join(folder, bare))
    if relative.startswith("/.."):
        return []
    if module.startswith("."):
        return [relative]
    is_package = language in _SCRIPT and not module.startswith(("@/", "~/", "#", "src/"))
    return [relative] if is_package else [relative, bare.lstrip("@~#/")]


def _fits(file: IndexedFile, importer: IndexedFile, ending: str, is_rooted: bool) -> bool:
    if not _same_family(file.language, importer.language):
        return False
    bare = _bare(file.path)
    return bare == ending or (not is_rooted and bare.endswith("/" + ending))


@lru_cache(maxsize=1 << 16)
def _bare(path: str) -> str:
    """The path up to the first dot of the file's name."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _same_family(one: str, other: str) -> bool:
    return one == other or any(one in family and other in family for family in _FAMILIES)


def _common(one: str, other: str) -> int:
    """How many leading folders two paths share."""
    count = 0
    for mine, theirs in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if mine != theirs:
            break
        count += 1
    return count


@lru_cache(maxsize=1 << 16)
def keys_of(path: str) -> tuple[str, ...]:
    """The import keys under which a file may be imported: its stem, or its folder's name for a package's main file."""
    folder, _, name = path.rpartition("/")
    stem = name.partition(".")[0]
    if stem in _ALL_PACKAGE_STEMS or name.endswith((".go", ".rs")):
        return stem, posixpath.basename(folder)
    return (stem,)
