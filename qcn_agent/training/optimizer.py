"""Muon for the matrices of the blocks (Jordan et al., 2024), AdamW for everything else."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from qcn_agent.training.model import Model

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the quintic of the original
MIN_MATRIX_SIDE = 64  # thinner ones (router, gates) go to AdamW


def orthogonalise(gradients: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, by Newton-Schulz iteration; `gradients` is one matrix or a batch."""
    if gradients.dim() == 3 and gradients.device.type == "cpu":  # batched products are slow on a CPU
        return torch.stack([orthogonalise(matrix, steps) for matrix in gradients])
    x = gradients.bfloat16() if gradients.is_cuda else gradients
    is_tall = x.shape[-2] > x.shape[-1]
    x = x.mT.contiguous() if is_tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        gram = x @ x.mT.contiguous()
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return (x.mT if is_tall else x).to(gradients.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates; matrices of equal shape go through in one batch."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "wd": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update every matrix from its gradient."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for matrix in group["params"]:
                shapes.setdefault(tuple(matrix.shape), []).append(matrix)
            for shape, matrices in shapes.items():
                updates = orthogonalise(torch.stack([self._momentum(m, group["momentum"]) for m in matrices]))
                scale = 0.2 * math.sqrt(max(shape))  # an update of the size AdamW would make
                for matrix, update in zip(matrices, updates, strict=True):
                    matrix.mul_(1 - group["lr"] * group["wd"]).add_(update, alpha=-group["lr"] * scale)

    def _momentum(self, matrix: Tensor, momentum: float) -> Tensor:
        """The gradient with Nesterov momentum."""
        state = self.state[matrix]
        if "m" not in state:
            state["m"] = torch.zeros_like(matrix)
        state["m"].lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(state["m"], momentum)


def build(model: Model, lr: float) -> list[torch.optim.Optimizer]:
    """The two optimisers of a model."""
    matrices = [p for name, p in model.named_parameters() if _is_matrix(name, p)]
    rest = [p for name, p in model.named_parameters() if not _is_matrix(name, p)]
    is_cuda = rest[0].is_cuda
    return [Muon(matrices, lr), torch.optim.AdamW(rest, lr, betas=(0.9, 0.97), weight_decay=0.0, fused=is_cuda)]


def _is_matrix(name: str, parameter: Tensor) -> bool:
    is_wide = parameter.dim() == 2 and min(parameter.shape) >= MIN_MATRIX_SIDE
    return name.startswith("blocks") and is_wide and "conv" not in name
