"""qwen3next in PyTorch: Gated DeltaNet, gated attention, mixture of experts with a shared expert.

Written for fast training of tiny models. Parameters lie the way GGUF wants them; their names are those of the
checkpoints. All experts are computed densely and masked: at these sizes three matrix products beat any dispatch.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qcn_agent.training.delta_rule import delta_rule

LOSS_ROWS = 32768  # positions whose logits are in memory at once


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a model; saved in checkpoints under these names."""

    vocab: int = 8192
    d: int = 256  # width of the residual stream
    layers: int = 6
    attn_every: int = 2  # layer i is full attention when (i + 1) % attn_every == 0
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    rot: int = 32  # rotated dimensions of a head
    theta: float = 100000.0  # base of the rotation
    k_heads: int = 2  # of the delta net, for keys and queries
    v_heads: int = 4
    state: int = 64  # width of a delta-net head
    conv: int = 4  # taps of its causal convolution
    experts: int = 8
    top_k: int = 2
    ff: int = 64  # width of one expert
    ff_shared: int = 256
    eps: float = 1e-6
    ctx: int = 32768  # context length the GGUF announces, in tokens
    chunk: int = 64  # of the delta rule; training only

    def is_attention(self, layer: int) -> bool:
        """Whether `layer` is full attention (else it is a delta net)."""
        return (layer + 1) % self.attn_every == 0

    @property
    def k_width(self) -> int:
        """Width of all delta-net keys."""
        return self.k_heads * self.state

    @property
    def v_width(self) -> int:
        """Width of all delta-net values."""
        return self.v_heads * self.state


SIZES: dict[str, dict[str, int]] = {
    "xs": {"layers": 4},
    "s": {"d": 320, "layers": 8, "heads": 5, "kv_heads": 1, "k_heads": 5, "v_heads": 5, "ff": 96, "ff_shared": 320},
    "m": {"d": 384, "layers": 8, "heads": 6, "kv_heads": 2, "k_heads": 6, "v_heads": 6, "ff": 128, "ff_shared": 512},
    "l": {"d": 384, "layers": 12, "heads": 6, "kv_heads": 2, "k_heads": 6, "v_heads": 6, "ff": 128, "ff_shared": 512},
}


def unit_rms(x: Tensor, eps: float) -> Tensor:
    """`x` scaled to a root mean square of 1 over its last dimension, in float32."""
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def unit_l2(x: Tensor) -> Tensor:
    """`x` scaled to length 1 over its last dimension."""
    return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + 1e-6)


class DeltaNet(nn.Module):
    """A Gated DeltaNet layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c = c = config
        mixed = 2 * c.k_width + c.v_width
        self.qkv = nn.Linear(c.d, mixed, bias=False)
        self.z = nn.Linear(c.d, c.v_width, bias=False)
        self.ba = nn.Linear(c.d, 2 * c.v_heads, bias=False)  # per key head: betas, then decays
        self.conv = nn.Parameter(0.1 * torch.randn(mixed, c.conv))
        self.a_log = nn.Parameter(torch.log(torch.empty(c.v_heads).uniform_(1, 8)))
        dt = torch.exp(torch.empty(c.v_heads).uniform_(math.log(0.001), math.log(0.1)))
        self.dt = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.norm = nn.Parameter(torch.ones(c.state))
        self.out = nn.Linear(c.v_width, c.d, bias=False)
        with torch.no_grad():
            self.conv[:, -1] += 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) to (B, T, d)."""
        c = self.c
        batch, length, _ = x.shape
        q, k, v = self._convolved(x).split([c.k_width, c.k_width, c.v_width], -1)
        q, k = (unit_l2(t.reshape(batch, length, c.k_heads, c.state)) for t in (q, k))
        repeats = c.v_heads // c.k_heads
        if repeats > 1:
            q, k = q.repeat_interleave(repeats, 2), k.repeat_interleave(repeats, 2)
        beta, log_decay = self._gates(x)
        with torch.autocast(x.device.type, enabled=False):
            v = v.reshape(batch, length, c.v_heads, c.state)
            out = delta_rule(q * c.state**-0.5, k, v, log_decay, beta, c.chunk)
        out = (unit_rms(out, c.eps) * self.norm).reshape(batch, length, -1) * F.silu(self.z(x).float())
        return self.out(out.to(x.dtype))

    def _convolved(self, x: Tensor) -> Tensor:
        """Queries, keys and values after the causal depthwise convolution."""
        taps, length = self.c.conv, x.shape[1]
        y = F.pad(self.qkv(x).float(), (0, 0, taps - 1, 0))
        return F.silu(sum(y[:, j : j + length] * self.conv[:, j] for j in range(taps)))

    def _gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Write strengths and log decays, both (B, T, v_heads) float32."""
        c = self.c
        ba = self.ba(x).float().view(*x.shape[:2], c.k_heads, 2, c.v_heads // c.k_heads)
        beta, raw = ba[..., 0, :].flatten(2).sigmoid(), ba[..., 1, :].flatten(2)
        return beta, -self.a_log.exp() * F.softplus(raw + self.dt)


class Attention(nn.Module):
    """Grouped-query attention with partial rotation and an output gate."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c = c = config
        self.q = nn.Linear(c.d, 2 * c.heads * c.head_dim, bias=False)  # per head: query, gate
        self.k = nn.Linear(c.d, c.kv_heads * c.head_dim, bias=False)
        self.v = nn.Linear(c.d, c.kv_heads * c.head_dim, bias=False)
        self.qn = nn.Parameter(torch.ones(c.head_dim))
        self.kn = nn.Parameter(torch.ones(c.head_dim))
        self.out = nn.Linear(c.heads * c.head_dim, c.d, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, T, d) to (B, T, d)."""
        c = self.c
        batch, length, _ = x.shape
        q, gate = self.q(x).view(batch, length, c.heads, 2, c.head_dim).unbind(-2)
        k, v = (w(x).view(batch, length, c.kv_heads, c.head_dim) for w in (self.k, self.v))
        q, k = self._rotated(q, self.qn, cos, sin).to(v.dtype), self._rotated(k, self.kn, cos, sin).to(v.dtype)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        repeats = c.heads // c.kv_heads
        if repeats > 1:
            k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        return self.out((out * gate.sigmoid()).reshape(batch, length, -1))

    def _rotated(self, x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = unit_rms(x, self.c.eps) * weight
        half = self.c.rot // 2
        a, b, rest = x[..., :half], x[..., half : self.c.rot], x[..., self.c.rot :]
        return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1)


class MixtureOfExperts(nn.Module):
    """Routed experts and a gated shared one, as three matrices: the experts one after another, then the shared."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c = c = config
        width = c.experts * c.ff + c.ff_shared
        self.router = nn.Linear(c.d, c.experts, bias=False)
        self.shared_gate = nn.Linear(c.d, 1, bias=False)
        self.gate = nn.Linear(c.d, width, bias=False)
        self.up = nn.Linear(c.d, width, bias=False)
        self.down = nn.Linear(width, c.d, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, d) to (B, T, d), and the load-balance loss (1 when experts are used evenly)."""
        c = self.c
        with torch.autocast(x.device.type, enabled=False):
            p = F.linear(x.float(), self.router.weight).softmax(-1)
            chosen = p.detach() >= p.detach().topk(c.top_k, -1).values[..., -1:]
            weight = p * chosen
            weight = weight / weight.sum(-1, keepdim=True)
            shared = F.linear(x.float(), self.shared_gate.weight).sigmoid()
        hidden = F.silu(self.gate(x)) * self.up(x)
        routed, rest = hidden.split([c.experts * c.ff, c.ff_shared], -1)
        routed = routed.unflatten(-1, (c.experts, c.ff)) * weight.to(hidden.dtype).unsqueeze(-1)
        out = self.down(torch.cat((routed.flatten(-2), rest * shared.to(hidden.dtype)), -1))
        load = chosen.float().flatten(0, -2).mean(0)
        return out, c.experts * (load * p.flatten(0, -2).mean(0)).sum() / c.top_k


class Block(nn.Module):
    """One layer: a token mixer and the experts, each on a normalised residual branch."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.c = config
        self.n1 = nn.Parameter(torch.ones(config.d))
        self.n2 = nn.Parameter(torch.ones(config.d))
        self.mix = Attention(config) if config.is_attention(layer) else DeltaNet(config)
        self.moe = MixtureOfExperts(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, d) to (B, T, d), and the load-balance loss."""
        h = (unit_rms(x, self.c.eps) * self.n1).to(x.dtype)
        x = x + (self.mix(h, cos, sin) if isinstance(self.mix, Attention) else self.mix(h)).to(x.dtype)
        h, balance = self.moe((unit_rms(x, self.c.eps) * self.n2).to(x.dtype))
        return x + h.to(x.dtype), balance


class Model(nn.Module):
    """The whole network; input and output share the embedding."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c = config
        self.embd = nn.Embedding(config.vocab, config.d)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.layers))
        self.norm = nn.Parameter(torch.ones(config.d))
        self._rotations: dict[tuple[int, Any], tuple[Tensor, Tensor]] = {}
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and parameter.dim() == 2:
                nn.init.normal_(parameter, 0, self._initial_std(name, parameter))

    def _initial_std(self, name: str, parameter: Tensor) -> float:
        if name == "embd.weight":
            return 0.02
        depth = math.sqrt(2 * self.c.layers) if name.endswith(("out.weight", "down.weight")) else 1.0
        return 0.6 / depth / math.sqrt(parameter.shape[1])

    def _rotation(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines (T, 1, rot / 2) of the rotary embedding."""
        key = (length, device)
        if key not in self._rotations:
            frequency = self.c.theta ** (-torch.arange(0, self.c.rot, 2, dtype=torch.float64) / self.c.rot)
            angle = (torch.arange(length, dtype=torch.float64)[:, None] * frequency).float()[:, None, :]
            self._rotations[key] = (angle.cos().to(device), angle.sin().to(device))
        return self._rotations[key]

    def trunk(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised hidden states (B, T, d) of ids (B, T), and the mean load-balance loss."""
        x = self.embd(ids)
        if torch.is_autocast_enabled(ids.device.type):
            x = x.to(torch.get_autocast_dtype(ids.device.type))
        cos, sin = self._rotation(ids.shape[1], ids.device)
        balance = torch.zeros((), device=ids.device)
        for block in self.blocks:
            x, one = block(x, cos, sin)
            balance = balance + one / self.c.layers
        return (unit_rms(x, self.c.eps) * self.norm).to(x.dtype), balance

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, T, vocab) of ids (B, T)."""
        return F.linear(self.trunk(ids)[0], self.embd.weight)

    def loss(
        self, ids: Tensor, target: Tensor, weight: Tensor, total_weight: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Weighted mean next-token loss in nats, and the load-balance loss; all inputs (B, T).

        Only positions of positive weight reach the output matrix. `total_weight` replaces the sum of the weights, for
        a batch that comes in parts.
        """
        x, balance = self.trunk(ids)
        where = weight.flatten().nonzero().squeeze(1)
        x, target, weight = x.flatten(0, 1).index_select(0, where), target.flatten()[where], weight.flatten()[where]
        total = torch.zeros((), device=ids.device)
        for part in range(0, len(where), LOSS_ROWS):
            rows = slice(part, part + LOSS_ROWS)
            logits = F.linear(x[rows], self.embd.weight).float()
            total = total + (F.cross_entropy(logits, target[rows], reduction="none") * weight[rows]).sum()
        return total / (total_weight or weight.sum().clamp(min=1)), balance

    def num_parameters(self) -> tuple[int, int]:
        """All parameters, and those that one token uses."""
        total = sum(parameter.numel() for parameter in self.parameters())
        c = self.c
        return total, total - c.layers * (c.experts - c.top_k) * 3 * c.ff * c.d
