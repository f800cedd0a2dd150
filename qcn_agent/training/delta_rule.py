"""The gated delta rule in chunks: what a Gated DeltaNet layer computes, all of it in matrix products.

Yang et al., "Gated Delta Networks", arXiv:2412.06464; the WY form of a chunk is theirs.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@cache
def _block_masks(size: int, device: torch.device) -> tuple[Tensor, list[Tensor]]:
    """The identity, and for each doubling the mask of the blocks it joins."""
    i = torch.arange(size, device=device)
    row, column = i[:, None], i[None]
    widths = [1 << bit for bit in range((size - 1).bit_length())]
    masks = [((row // (2 * w) == column // (2 * w)) & (row // w > column // w)).float() for w in widths]
    return torch.eye(size, device=device), masks


class UnitLowerInverse(torch.autograd.Function):
    """(I + A)^-1 of strictly lower triangular A, by block doubling: as stable as forward substitution."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        """A: (..., C, C) float32."""
        identity, masks = _block_masks(a.shape[-1], a.device)
        inverse = identity - a * masks[0]
        for mask in masks[1:]:
            inverse = inverse - inverse @ ((a * mask) @ inverse)
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """d(M^-1) = -M^-1 dM M^-1."""
        (inverse,) = ctx.saved_tensors
        transposed = inverse.transpose(-1, -2)
        return -(transposed @ (gradient @ transposed)).tril(-1)


def delta_rule(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, chunk: int) -> Tensor:
    """Outputs (B, T, H, V) of the rule from a zero state; everything float32.

    q, k: (B, T, H, K), l2-normalised, q scaled; v: (B, T, H, V); log_decay, beta: (B, T, H). `chunk` is a power of 2.
    """
    batch, length, heads, _ = q.shape
    q, k, v = (_chunked(x, chunk) for x in (q, k, v))  # (N, B * H, C, K or V)
    decay, beta = (_chunked(x.unsqueeze(-1), chunk).squeeze(-1) for x in (log_decay, beta))
    decay = decay.cumsum(-1)
    i = torch.arange(chunk, device=q.device)
    between = (decay.unsqueeze(-1) - decay.unsqueeze(-2)).masked_fill(i[:, None] < i[None], -1e30).exp()
    k_beta, k_t, grown = k * beta.unsqueeze(-1), k.transpose(-1, -2), decay.exp().unsqueeze(-1)
    inverse = UnitLowerInverse.apply(((k_beta @ k_t) * between).tril(-1))
    u, w = inverse @ (v * beta.unsqueeze(-1)), inverse @ (k_beta * grown)
    states = _chunk_states(k, u, w, decay)
    out = (q * grown) @ states + ((q @ k_t) * between) @ (u - w @ states)
    out = out.view(-1, batch, heads, chunk, v.shape[-1]).permute(1, 0, 3, 2, 4)
    return out.reshape(batch, -1, heads, v.shape[-1])[:, :length]


def _chunked(x: Tensor, chunk: int) -> Tensor:
    """(B, T, H, D) to (N, B * H, C, D), zeros after the end."""
    batch, length, heads, width = x.shape
    x = F.pad(x, (0, 0, 0, 0, 0, -length % chunk))
    return x.view(batch, -1, chunk, heads, width).permute(1, 0, 3, 2, 4).reshape(-1, batch * heads, chunk, width)


def _chunk_states(k: Tensor, u: Tensor, w: Tensor, decay: Tensor) -> Tensor:
    """The state before each chunk, (N, B * H, K, V): the only sequential part."""
    last = decay[..., -1:]
    k_decayed = (k * (last - decay).exp().unsqueeze(-1)).transpose(-1, -2)
    added = k_decayed @ u
    carried = last.exp().unsqueeze(-1) * torch.eye(k.shape[-1], device=k.device) - k_decayed @ w
    states = [torch.zeros_like(added[0])]
    for n in range(k.shape[0] - 1):
        states.append(torch.baddbmm(added[n], carried[n], states[-1]))
    return torch.stack(states)
