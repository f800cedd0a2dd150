"""Rows of equal length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from qcn_agent.training import packing
from qcn_agent.training.packing import BatchLoader, LoaderConfig, RowPacker
from qcn_agent.training.stream import DocumentStream, Mixture, Sources

# workers are forked on purpose; from Python 3.12 on that warns when an earlier test has left a thread behind
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]
LENGTH = 256
SHORT = Mixture(0, 0, 1, 0, 0, 0)


@pytest.fixture
def packer(tokenizer: Any) -> RowPacker:
    """Rows of fill-in-the-middle documents."""
    return RowPacker(DocumentStream(Sources.for_training([]), tokenizer, SHORT, "0"), LENGTH, 7)


def test_rows_have_one_token_more_than_their_length(packer: RowPacker) -> None:
    """The last token is only a target; ids and weights go together."""
    for _ in range(5):
        ids, weights = packer.row()
        assert len(ids) == len(weights) == LENGTH + 1


def test_rows_begin_with_the_end_of_a_text(packer: RowPacker) -> None:
    """So that each document begins after an end, also the first."""
    ids, weights = packer.row()
    assert (ids[0], weights[0]) == (7, 0.0)


def test_documents_are_whole(packer: RowPacker, tokenizer: Any) -> None:
    """Each hole that a row opens is answered and closed in it."""
    opened, asked = (tokenizer.token_to_id(token) for token in ("<|fim_prefix|>", "<|fim_middle|>"))
    for _ in range(5):
        ids, _ = packer.row()
        assert ids.count(opened) == ids.count(asked) > 0


def test_rows_too_short_for_any_document_are_an_error(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of waiting for ever for a document that fits."""
    monkeypatch.setattr(packing, "MAX_DRAWS", 20)
    stream = DocumentStream(Sources.for_training([]), tokenizer, Mixture(1, 0, 0, 0, 0, 0), "0")
    with pytest.raises(ValueError, match="too short"):
        RowPacker(stream, 32, 0).row()


def test_a_batch_has_arrays_of_the_right_types() -> None:
    """int64 ids and float32 weights, rows first."""
    batch = packing.batch_of([([1, 2], [0.0, 1.0]), ([3, 4], [0.5, 0.0])])
    assert (batch.ids.dtype.name, batch.weights.dtype.name) == ("int64", "float32")
    assert batch.ids.tolist() == [[1, 2], [3, 4]]


def test_workers_deliver_rows_until_they_are_closed(tokenizer: Any) -> None:
    """Batches of any number of rows come from a worker process, without losing or repeating one."""
    loader = BatchLoader(LoaderConfig(None, length=LENGTH, mixture=SHORT), [])
    try:
        batches = [loader.batch(3) for _ in range(4)]
    finally:
        loader.close()
    assert [batch.ids.shape for batch in batches] == [(3, LENGTH + 1)] * 4
    rows = [row.tobytes() for batch in batches for row in batch.ids]
    assert len(set(rows)) == 12
    stream = DocumentStream(Sources.for_training([]), tokenizer, SHORT, "0-0")
    expected = RowPacker(stream, LENGTH, tokenizer.token_to_id("<|endoftext|>"))
    assert rows == [np.array(expected.row()[0], np.int64).tobytes() for _ in range(12)]


def test_a_dead_worker_is_noticed(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with an error instead of waiting for rows that never come."""
    monkeypatch.setattr(packing, "WAIT_S", 0.1)
    monkeypatch.setattr(packing, "MAX_DRAWS", 5)
    loader = BatchLoader(LoaderConfig(None, length=32, mixture=Mixture(1, 0, 0, 0, 0, 0)), [])
    try:
        with pytest.raises(RuntimeError, match="workers died"):
            loader.batch(1)
    finally:
        loader.close()


def test_no_corpus_means_no_files() -> None:
    """The textbook alone is enough to train."""
    files: Sequence[Any] = packing.load_files(None)
    assert files == []
