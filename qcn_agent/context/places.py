"""What a query points at, as evidence for files: stack frames, paths, modules, defined names."""

import math
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qcn_agent.context.evidence import Evidence
from qcn_agent.context.issue import IssueQuery
from qcn_agent.index.relations import RelationReader
from qcn_agent.index.rows import IndexedFile

MAX_DEFINING_FILES = 60
_MAX_SUFFIXES = 12
_NEXT_FRAME = 0.8  # what a frame says, beside the one that is nearer to the error


@dataclass
class Places:
    """Evidence by kind; `lines` are those that frames point at, by file."""

    frames: Evidence = field(default_factory=Evidence)
    paths: Evidence = field(default_factory=Evidence)
    modules: Evidence = field(default_factory=Evidence)
    definitions: Evidence = field(default_factory=Evidence)
    lines: dict[int, set[int]] = field(default_factory=dict)

    def file_ids(self) -> set[int]:
        """All files that something points at."""
        kinds = (self.frames, self.paths, self.modules, self.definitions)
        return {file_id for kind in kinds for file_id in kind.file_ids()}


def find_places(index: RelationReader, query: IssueQuery) -> Places:
    """Everything that a query points at."""
    places = Places()
    _add_frames(index, query, places)
    for path in query.paths:
        for file, value in _files_at(index, path):
            places.paths.add(file.file_id, value, f"the text names {path}")
    for module in dict.fromkeys((*query.imports, *query.modules)):
        _add_module(index, module, places)
    for name, defining in index.few_definers(query.names.keys(), MAX_DEFINING_FILES).items():
        value = query.names[name] / (1 + math.log2(len(defining)))
        for file_id in defining:
            places.definitions.add(file_id, value, f"defines {name}")
    return places


def _add_frames(index: RelationReader, query: IssueQuery, places: Places) -> None:
    """Frames of other code don't count; of the others each says less than the one nearer to the error."""
    value = 1.0
    for frame in query.frames:
        found = list(_files_at(index, frame.path))
        for file, share in found:
            where = f"stack frame at line {frame.line}" + (f" in {frame.function}" if frame.function else "")
            places.frames.add(file.file_id, value * share, where)
            places.lines.setdefault(file.file_id, set()).add(frame.line)
        value *= _NEXT_FRAME if found else 1.0


def _files_at(index: RelationReader, path: str) -> Iterator[tuple[IndexedFile, float]]:
    """Files whose path ends as this one does, by its longest ending that fits; several share the value."""
    folder, name = posixpath.split(path)
    extension = posixpath.splitext(name)[1]
    parts = [*(part for part in folder.split("/") if part not in ("", ".", "..")), name.split(".")[0] or name]
    if not extension and len(parts) < 2:
        return
    for start in range(max(0, len(parts) - _MAX_SUFFIXES), len(parts)):
        found = [file for file in index.files_ending("/".join(parts[start:])) if file.path.endswith(extension)]
        if found:
            for file in found if len(found) <= MAX_DEFINING_FILES else ():
                yield file, 1 / len(found)
            return


def _add_module(index: RelationReader, dotted: str, places: Places) -> None:
    """A dotted name: the longest part in front that is a module, and what it says is in it; a method and its class."""
    parts = dotted.split(".")
    for end in range(len(parts), 1, -1):
        if files := _modules_at(index, parts[:end]):
            for file in files:
                places.modules.add(file.file_id, 1 / len(files), f"the text names {dotted}")
            break
    for one in index.definitions_named(parts[-1], MAX_DEFINING_FILES) if len(parts) > 1 else ():
        if one.definition.scope.rpartition(".")[2] == parts[-2]:
            places.definitions.add(one.file_id, 1.0, f"defines {'.'.join(parts[-2:])}")


def _modules_at(index: RelationReader, parts: Sequence[str]) -> list[IndexedFile]:
    path = "/".join(parts)
    found = index.files_ending(path) or index.files_ending(f"{path}/__init__")
    return found if len(found) <= MAX_DEFINING_FILES else []
