"""The index of one workspace: opened at once, refreshed by a process of its own, asked from anywhere."""

import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from qcn_agent import paths
from qcn_agent.index.builder import BuildResult
from qcn_agent.index.files import list_files
from qcn_agent.index.keeper import IndexKeeper, Progress
from qcn_agent.index.relations import RelationReader
from qcn_agent.index.search import SearchResult, search_files
from qcn_agent.index.similar import Similar, similar_code

MAX_WORKERS = 8


@dataclass(frozen=True)
class IndexStatus:
    """Of a workspace's index: see keeper.KeeperState; `num_files` and `database_bytes` are what can be asked now."""

    phase: str
    done: int
    total: int
    is_writer: bool
    is_watching: bool
    message: str
    num_files: int
    database_bytes: int


class Index(RelationReader):
    """What is known about a workspace; the queries are those of IndexReader and RelationReader.

    Queries answer from what is stored and never wait for a refresh. Nothing is written into the workspace. Several
    indexes, of one workspace or of many, live beside each other: one process writes, all read.
    """

    def __init__(self, workspace: Path, database: Path, *, num_workers: int, watch: bool) -> None:
        super().__init__(database)
        self.workspace = workspace
        self._database_path = database
        self._keeper = IndexKeeper(workspace, database, num_workers=num_workers, watch=watch)

    @classmethod
    def open(
        cls, workspace: Path, *, folder: Path | None = None, num_workers: int | None = None, watch: bool = True
    ) -> "Index":
        """The index of a workspace, which may be empty until `refresh`.

        Kept in `folder` (default: the cache directory), named after the workspace's real path. With `watch` changes are
        followed after the first refresh.
        """
        real = workspace.resolve()
        database = (folder or paths.cache_dir() / "index") / f"{workspace_key(real)}.db"
        workers = num_workers or min(MAX_WORKERS, os.cpu_count() or 1)
        return cls(real, database, num_workers=workers, watch=watch)

    def refresh(self, progress: Progress | None = None, timeout_s: float | None = None) -> BuildResult:
        """Bring the index into line with the workspace, and wait for it.

        Where another process keeps this index nothing is done, and `status().is_writer` is False. Raises IndexingError.
        """
        return self._keeper.ask({"do": "refresh"}, progress, timeout_s)

    def update(self, changed: list[str], timeout_s: float | None = None) -> BuildResult:
        """Look at some paths, relative to the workspace, without waiting for the watcher. Raises IndexingError."""
        return self._keeper.ask({"do": "update", "paths": changed}, None, timeout_s)

    def num_stale(self) -> int:
        """How many files are new, changed or gone since they were indexed. Every file is looked at, none is read."""
        found, known = list_files(self.workspace), self.stamps()
        return sum(known.get(path) != stamp for path, stamp in found.items()) + len(known.keys() - found.keys())

    def close(self) -> None:
        """End the process and the connection; what is stored stays."""
        self._keeper.close()
        super().close()

    def status(self) -> IndexStatus:
        """How it stands."""
        state = self._keeper.state
        try:
            size = self._database_path.stat().st_size
        except OSError:
            size = 0
        return IndexStatus(
            state.phase,
            state.done,
            state.total,
            state.is_writer,
            state.is_watching,
            state.message,
            self.corpus_stats().num_files,
            size,
        )

    def search(self, pattern: str, *, below: str = "", max_matches: int = 100, timeout_s: float = 10.0) -> SearchResult:
        """Lines that match a regular expression, in the indexed files below a folder; see search.py."""
        names = [file.path for file in self.files() if _is_below(file.path, below)]
        return search_files(self.workspace, names, pattern, max_matches=max_matches, timeout_s=timeout_s)

    def similar(self, text: str, language: str, limit: int = 5, exclude: str = "") -> list[Similar]:
        """Stretches of the workspace's code that look like `text`; see similar.py."""
        return similar_code(self, self.workspace, text, language, limit, exclude)


def workspace_key(real: Path) -> str:
    """What a workspace's files are called in the cache."""
    return blake2b(os.fsencode(real), digest_size=12).hexdigest()


def _is_below(path: str, folder: str) -> bool:
    bare = folder.strip("/").removeprefix("./")
    return bare in ("", ".", path) or path.startswith(bare + "/")
