"""Muon."""

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra (torch)")

from qcn_agent.training import optimizer  # noqa: E402
from qcn_agent.training.optimizer import Muon, orthogonalise  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("shape", [(64, 64), (64, 128), (128, 64)])
def test_updates_are_nearly_orthogonal(shape: tuple[int, int]) -> None:
    """Singular values come close to 1, whatever the shape; the iteration leaves only tiny ones behind."""
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
    assert float(values.max()) < 1.3
    assert float((values > 0.6).float().mean()) > 0.95


def test_a_batch_gives_what_single_matrices_give() -> None:
    """Equal shapes may go through together."""
    torch.manual_seed(0)
    batch = torch.randn(3, 64, 96)
    one_by_one = torch.stack([orthogonalise(matrix) for matrix in batch])
    assert torch.allclose(orthogonalise(batch), one_by_one, atol=1e-5)


def test_a_step_follows_the_gradient() -> None:
    """The loss of a linear map falls."""
    torch.manual_seed(0)
    matrix, target = torch.nn.Parameter(torch.randn(64, 64)), torch.randn(64, 64)
    muon = Muon([matrix], lr=0.2)
    losses = []
    for _ in range(60):
        loss = (matrix - target).square().mean()
        losses.append(float(loss.detach()))
        loss.backward()
        muon.step()
        matrix.grad = None
    assert losses[-1] < 0.5 * losses[0]


def test_each_parameter_has_one_optimiser(tiny_model: Any) -> None:
    """Wide matrices of the blocks go to Muon, everything else to AdamW, nothing to both."""
    muon, adam = optimizer.build(tiny_model, 1e-3)
    by_muon, by_adam = ({id(p) for group in one.param_groups for p in group["params"]} for one in (muon, adam))
    assert not by_muon & by_adam
    assert by_muon | by_adam == {id(p) for p in tiny_model.parameters()}
    names = {name for name, p in tiny_model.named_parameters() if id(p) in by_muon}
    assert (
        "blocks.0.moe.gate.weight" in names and "embd.weight" not in names and "blocks.0.moe.router.weight" not in names
    )
