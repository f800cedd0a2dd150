"""Packs documents into rows of equal length, in worker processes."""

import multiprocessing
import os
import queue
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcn_agent.training import source_file, tokenizer
from qcn_agent.training.source_file import SourceFile
from qcn_agent.training.stream import DocumentStream, Encoded, Mixture, Sources

POOL = 24  # documents to choose from when a row is filled
MAX_DRAWS = 10 * POOL
ROWS_PER_MESSAGE = 4
QUEUE_MESSAGES = 8
WAIT_S = 10.0  # for a row, before a look at whether the workers live


@dataclass(frozen=True)
class Batch:
    """Token ids (rows, length + 1) int64 and their loss weights, float32."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]


class RowPacker:
    """Makes rows of `length` + 1 tokens. Each begins with `end_of_text`; documents are whole, but running code,
    which fills what is left, is cut. Documents longer than a row are dropped."""

    def __init__(self, stream: DocumentStream, length: int, end_of_text: int) -> None:
        self._stream = stream
        self._size = length + 1
        self._end_of_text = end_of_text
        self._pool: list[Encoded] = []

    def row(self) -> tuple[list[int], list[float]]:
        """Ids and weights of one row. Raises ValueError when no document is short enough for one."""
        ids, weights = [self._end_of_text], [0.0]
        self._fill_pool()
        while len(ids) < self._size:
            room = self._size - len(ids)
            document = self._take(room)
            ids += document.ids[:room]
            weights += document.weights[:room]
        return ids, weights

    def _fill_pool(self) -> None:
        for _ in range(MAX_DRAWS):
            if len(self._pool) >= POOL:
                return
            document = self._stream.draw()
            if document.kind == "code" or len(document.ids) < self._size:
                self._pool.append(document)
        if not self._pool:
            raise ValueError(f"rows of {self._size - 1} tokens are too short for these documents")

    def _take(self, room: int) -> Encoded:
        """Some document that fits, else code to cut."""
        fitting = [i for i, document in enumerate(self._pool) if document.kind == "code" or len(document.ids) <= room]
        if not fitting:
            return self._stream.draw("code")
        return self._pool.pop(self._stream.rng.choice(fitting))


def batch_of(rows: Sequence[tuple[list[int], list[float]]]) -> Batch:
    """Rows of equal length as arrays."""
    return Batch(np.array([ids for ids, _ in rows], np.int64), np.array([weights for _, weights in rows], np.float32))


@dataclass(frozen=True)
class LoaderConfig:
    """What the workers make."""

    corpus: Path | None
    length: int = 768
    num_workers: int = 1
    seed: str = "0"
    mixture: Mixture = field(default_factory=Mixture)


class BatchLoader:
    """Rows from worker processes. Start it before CUDA is touched; `close` ends the workers."""

    def __init__(self, config: LoaderConfig, files: Sequence[SourceFile]) -> None:
        context = multiprocessing.get_context("fork")  # the corpus is shared, not copied
        self._queue: Any = context.Queue(QUEUE_MESSAGES + 2 * config.num_workers)
        self._rest: list[Batch] = []
        self._workers = [
            context.Process(target=_work, args=(config, files, f"{config.seed}-{index}", self._queue), daemon=True)
            for index in range(config.num_workers)
        ]
        for worker in self._workers:
            worker.start()

    def batch(self, num_rows: int) -> Batch:
        """The next rows. Waits for them; raises RuntimeError when a worker has died."""
        while sum(len(batch.ids) for batch in self._rest) < num_rows:
            self._rest.append(self._next())
        ids = np.concatenate([batch.ids for batch in self._rest])
        weights = np.concatenate([batch.weights for batch in self._rest])
        self._rest = [Batch(ids[num_rows:], weights[num_rows:])]
        return Batch(ids[:num_rows], weights[:num_rows])

    def _next(self) -> Batch:
        while True:
            try:
                batch: Batch = self._queue.get(timeout=WAIT_S)
            except queue.Empty:
                dead = [worker for worker in self._workers if not worker.is_alive()]
                if dead:
                    raise RuntimeError(f"{len(dead)} data workers died") from None
                continue
            return batch

    def close(self) -> None:
        """End the workers. Harmless when repeated."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join()
        self._workers = []


def _work(config: LoaderConfig, files: Sequence[SourceFile], seed: str, out: Any) -> None:
    """A worker's life: rows into the queue until it is terminated."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.nice(5)
    tokens = tokenizer.load()
    stream = DocumentStream(Sources.for_training(files), tokens, config.mixture, seed)
    packer = RowPacker(stream, config.length, tokens.token_to_id(tokenizer.END_OF_TEXT))
    while True:
        out.put(batch_of([packer.row() for _ in range(ROWS_PER_MESSAGE)]))


def load_files(corpus: Path | None) -> list[SourceFile]:
    """The corpus, or nothing: then only the textbook kinds of documents exist."""
    return source_file.load(corpus) if corpus else []
