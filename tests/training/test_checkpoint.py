"""Saving and loading."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra (torch)")

from qcn_agent.training import checkpoint  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_model_comes_back_as_it_was(tiny_model: Any, tmp_path: Path) -> None:
    """Shape, weights and whatever else was saved."""
    checkpoint.save(tiny_model, tmp_path / "run" / "a.pt", step=7, opt=[{"x": 1}])
    model, extra = checkpoint.load(tmp_path / "run" / "a.pt")
    assert model.c == tiny_model.c
    assert extra == {"step": 7, "opt": [{"x": 1}]}
    for name, tensor in tiny_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_half_precision_is_smaller_and_close(tiny_model: Any, tmp_path: Path) -> None:
    """Matrices are stored as float16 and come back as float32."""
    checkpoint.save(tiny_model, tmp_path / "full.pt")
    checkpoint.save(tiny_model, tmp_path / "half.pt", half=True)
    assert (tmp_path / "half.pt").stat().st_size < 0.6 * (tmp_path / "full.pt").stat().st_size
    model, _ = checkpoint.load(tmp_path / "half.pt")
    assert model.embd.weight.dtype == torch.float32
    assert torch.allclose(model.embd.weight, tiny_model.embd.weight, atol=1e-3)


def test_no_half_written_file_is_left(tiny_model: Any, tmp_path: Path) -> None:
    """The file appears under its name only when it is complete."""
    checkpoint.save(tiny_model, tmp_path / "a.pt")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.pt"]
