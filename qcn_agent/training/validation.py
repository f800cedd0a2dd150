"""Loss on held-out documents: a fixed set of rows for each kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from qcn_agent.training.model import Model
from qcn_agent.training.packing import Batch, RowPacker, batch_of
from qcn_agent.training.precision import autocast
from qcn_agent.training.source_file import SourceFile
from qcn_agent.training.stream import DocumentStream, Mixture, Sources
from qcn_agent.training.tokenizer import END_OF_TEXT

NOTHING = Mixture(0, 0, 0, 0, 0, 0)


def build(files: Sequence[SourceFile], tokenizer: Any, length: int, num_rows: int) -> dict[str, Batch]:
    """Rows by name: repairs of known and unknown templates (only the edits count), and the corpus if there is one."""
    known, unknown = Sources.for_validation(files), Sources.for_validation(files, unknown_templates=True)
    sets = {"repair_known": (known, "textbook_repair"), "repair_unknown": (unknown, "textbook_repair")}
    if files:
        sets |= {kind: (known, kind) for kind in ("corpus_repair", "corpus_fim", "code")}
    return {name: _rows(*source, tokenizer, length, num_rows) for name, source in sets.items()}


def _rows(sources: Sources, kind: str, tokenizer: Any, length: int, num_rows: int) -> Batch:
    mixture = Mixture(**{**vars(NOTHING), kind: 1.0})
    stream = DocumentStream(sources, tokenizer, mixture, "validation")
    packer = RowPacker(stream, length, tokenizer.token_to_id(END_OF_TEXT))
    batch = batch_of([packer.row() for _ in range(num_rows)])
    counted = batch.weights >= (0.5 if kind == "code" else 1.0)
    return Batch(batch.ids, counted.astype(np.float32))


def evaluate(model: Model, sets: Mapping[str, Batch], device: str, micro_rows: int) -> dict[str, float]:
    """Mean loss in nats a counted token of each set."""
    model.eval()
    losses = {}
    with torch.no_grad(), autocast(device):
        for name, batch in sets.items():
            ids, weights = torch.from_numpy(batch.ids), torch.from_numpy(batch.weights)
            parts = zip(ids.split(micro_rows), weights.split(micro_rows), strict=True)
            total = sum(
                float(model.loss(x[:, :-1].to(device), x[:, 1:].to(device), w[:, 1:].to(device), 1.0)[0])
                for x, w in parts
            )
            losses[name] = round(total / max(1.0, float(weights[:, 1:].sum())), 4)
    model.train()
    return losses
