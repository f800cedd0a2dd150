"""Small workspaces, indexed in this process with real workers; and everything an index says, to be compared."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qcn_agent.index.builder import Builder, BuildResult
from qcn_agent.index.index import Index
from qcn_agent.index.pool import WorkerPool
from qcn_agent.index.relations import RelationReader
from qcn_agent.index.store import Store


def write_tree(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a folder, which is made with their folders."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


class IndexedTree:
    """A workspace, its database, and both sides of it."""

    def __init__(self, workspace: Path, database: Path, num_workers: int = 1) -> None:
        self.workspace, self.database = workspace, database
        self.store = Store(database)
        self.pool = WorkerPool(workspace, num_workers)
        self.builder = Builder(workspace, self.store, self.pool)
        self.reader = RelationReader(database)

    def refresh(self) -> BuildResult:
        """Look at everything."""
        return self.builder.refresh()

    def write(self, name: str, text: str | bytes) -> BuildResult:
        """Write one file and look at it."""
        write_tree(self.workspace, {name: text})
        return self.builder.update([name])

    def index(self) -> Index:
        """The same database as an Index, without a process of its own; the caller closes it."""
        return Index(self.workspace, self.database, num_workers=1, watch=False)

    def id_of(self, path: str) -> int:
        """The file_id of a path that is in the index."""
        file = self.reader.file_at(path)
        assert file is not None, path
        return file.file_id

    def close(self) -> None:
        """End the workers and the connections."""
        self.pool.close()
        self.reader.close()
        self.store.close()


@contextmanager
def indexed(workspace: Path, files: Mapping[str, str | bytes] | None = None) -> Iterator[IndexedTree]:
    """A workspace with these files, indexed; the database lies beside it."""
    write_tree(workspace, files or {})
    workspace.mkdir(exist_ok=True)
    tree = IndexedTree(workspace, workspace.parent / f"{workspace.name}.db")
    try:
        tree.refresh()
        yield tree
    finally:
        tree.close()


def fresh(workspace: Path, folder: Path) -> dict[str, Any]:
    """Everything that an index made from nothing says; `folder` is made for it."""
    folder.mkdir()
    tree = IndexedTree(workspace, folder / "fresh.db")
    try:
        tree.refresh()
    finally:
        tree.close()
    return everything(folder / "fresh.db")


def everything(database: Path) -> dict[str, Any]:
    """All that an index says, by paths and words instead of numbers: equal for equal indexes."""
    reader = RelationReader(database)
    try:
        with reader.snapshot():
            paths = {file.file_id: file.path for file in reader.files()}
            words = [row[0] for row in reader._rows("SELECT text FROM terms WHERE num_files > 0 ORDER BY text")]
            stats = reader.corpus_stats(words)
            counts = reader.field_counts(list(paths), words)
            spots = zip(
                *(axis.tolist() for axis in np.nonzero(counts.counts)), counts.counts[counts.counts > 0], strict=True
            )
            files = {file.path: _file_contents(reader, file.file_id) for file in reader.files()}
            order = list(paths.values())
            tallies = sorted((order[file], words[word], field, int(number)) for file, word, field, number in spots)
            found = {
                word: {paths[number] for number, _ in reader.candidates({word: 1.0}, len(paths) + 1)} for word in words
            }
            named = reader._rows(
                "SELECT text, path, num_definitions, num_references, num_imports "
                "FROM named JOIN terms USING (term_id) JOIN files USING (file_id) ORDER BY text, path"
            )
            assert reader._rows("SELECT count(*) FROM named")[0][0] == len(named)
            assert reader._rows("SELECT count(*) FROM contents")[0][0] == len(paths)
        return {
            "stats": stats,
            "files": files,
            "tallies": tallies,
            "found": found,
            "named": [(text, os.fsdecode(p), *n) for text, p, *n in named],
        }
    finally:
        reader.close()


def _file_contents(reader: RelationReader, file_id: int) -> tuple[Any, ...]:
    file = reader.file(file_id)
    assert file is not None
    return (
        file.language,
        file.size,
        file.depth,
        file.content_hash,
        reader.definitions_of(file_id),
        reader.imports_in(file_id),
    )
