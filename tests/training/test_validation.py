"""Validation rows and their loss."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra (torch)")

from qcn_agent.training import precision, validation  # noqa: E402
from qcn_agent.training.packing import Batch  # noqa: E402
from qcn_agent.training.source_file import SourceFile  # noqa: E402

pytestmark = pytest.mark.torch


def test_only_edits_and_ends_count_in_repairs(tokenizer: Any) -> None:
    """Weights are 0 or 1, and most tokens of a repair are not scored."""
    sets = validation.build([], tokenizer, 640, 2)
    assert set(sets) == {"repair_known", "repair_unknown"}
    for batch in sets.values():
        assert batch.ids.shape == (2, 641)
        assert set(np.unique(batch.weights)) == {0.0, 1.0}
        assert batch.weights.mean() < 0.5


def test_validation_rows_are_always_the_same(tokenizer: Any) -> None:
    """Losses of different moments and runs can be compared."""
    first, second = (validation.build([], tokenizer, 640, 1)["repair_known"] for _ in range(2))
    assert (first.ids == second.ids).all()


def test_a_corpus_adds_its_kinds(tokenizer: Any, corpus_file: SourceFile) -> None:
    """With files there are sets for real repairs, holes and code, of held-out functions."""
    functions = tuple(dataclasses.replace(function, digest="0000") for function in corpus_file.functions)
    sets = validation.build([dataclasses.replace(corpus_file, functions=functions)], tokenizer, 640, 1)
    assert set(sets) == {"repair_known", "repair_unknown", "corpus_repair", "corpus_fim", "code"}


def test_the_loss_is_a_mean_over_counted_tokens(tiny_model: Any) -> None:
    """A model without opinion has the logarithm of the vocabulary; the number of rows a pass does not matter."""
    with torch.no_grad():
        tiny_model.embd.weight.zero_()
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 8192, (3, 33))
    batch = Batch(ids, (ids % 2).astype(np.float32))
    for micro_rows in (1, 2, 3):
        losses = validation.evaluate(tiny_model, {"any": batch}, "cpu", micro_rows)
        assert losses["any"] == pytest.approx(math.log(8192), abs=1e-3)


def test_evaluation_leaves_the_model_in_training(tiny_model: Any) -> None:
    """And without gradients."""
    ids = np.zeros((1, 9), np.int64)
    validation.evaluate(tiny_model, {"any": Batch(ids, np.ones((1, 9), np.float32))}, "cpu", 1)
    assert tiny_model.training
    assert all(parameter.grad is None for parameter in tiny_model.parameters())


def test_bfloat16_is_used_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere float32 is faster."""
    for has_it, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda has_it=has_it: has_it)
        with precision.autocast("cpu"):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
