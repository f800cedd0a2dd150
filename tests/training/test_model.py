"""The network."""

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra (torch)")

from qcn_agent.training.model import SIZES, Model, ModelConfig  # noqa: E402

pytestmark = pytest.mark.torch


def ids(rows: int = 2, length: int = 40) -> Any:
    """Random token ids."""
    return torch.randint(0, 8192, (rows, length), generator=torch.Generator().manual_seed(3))


def test_logits_have_the_shape_of_the_input(tiny_model: Any) -> None:
    """(rows, length, vocabulary)."""
    assert tiny_model(ids()).shape == (2, 40, 8192)


def test_every_second_layer_is_attention(tiny_model: Any) -> None:
    """Delta nets and attention alternate, delta nets first."""
    kinds = [type(block.mix).__name__ for block in tiny_model.blocks]
    assert kinds == ["DeltaNet", "Attention", "DeltaNet", "Attention"]


def test_the_future_is_not_seen(tiny_model: Any) -> None:
    """Changing a token changes no logits before it."""
    tokens = ids()
    with torch.no_grad():
        before = tiny_model(tokens)[:, :20]
        tokens[:, 20:] = (tokens[:, 20:] + 1) % 8192
        assert torch.allclose(tiny_model(tokens)[:, :20], before, atol=1e-5)


def test_the_loss_is_the_weighted_mean_of_cross_entropies(tiny_model: Any) -> None:
    """Against the plain formula over all positions."""
    tokens, weights = ids(), torch.rand(2, 39)
    weights[weights < 0.4] = 0.0
    with torch.no_grad():
        loss, _ = tiny_model.loss(tokens[:, :-1], tokens[:, 1:], weights)
        each = torch.nn.functional.cross_entropy(
            tiny_model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
        )
    assert float(loss) == pytest.approx(float((each * weights.flatten()).sum() / weights.sum()), rel=1e-5)


def test_parts_of_a_batch_add_up(tiny_model: Any) -> None:
    """With the total weight given, losses of the rows sum to the loss of the batch."""
    tokens, weights = ids(), torch.rand(2, 39)
    total = float(weights.sum())
    with torch.no_grad():
        whole, _ = tiny_model.loss(tokens[:, :-1], tokens[:, 1:], weights)
        parts = [
            tiny_model.loss(t[:, :-1], t[:, 1:], w, total)[0]
            for t, w in zip(tokens.split(1), weights.split(1), strict=True)
        ]
    assert float(whole) == pytest.approx(float(sum(parts)), rel=1e-5)


def test_a_batch_without_weight_has_no_loss(tiny_model: Any) -> None:
    """Nothing to learn is zero, not an error."""
    tokens = ids()
    loss, _ = tiny_model.loss(tokens[:, :-1], tokens[:, 1:], torch.zeros(2, 39))
    assert float(loss) == 0.0


def test_every_parameter_gets_a_gradient(tiny_model: Any) -> None:
    """No part of the network is cut off."""
    tokens = ids()
    loss, balance = tiny_model.loss(tokens[:, :-1], tokens[:, 1:], torch.ones(2, 39))
    (loss + 0.01 * balance).backward()
    dead = [name for name, p in tiny_model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_active_parameters_are_fewer(tiny_model: Any) -> None:
    """A token uses top_k of the experts: 2 of 4 experts of 3 matrices in 4 layers are idle."""
    total, active = tiny_model.num_parameters()
    assert total - active == 4 * 2 * 3 * 32 * 64


def test_the_named_sizes_are_consistent() -> None:
    """Heads divide evenly, and the small size has the 5.5M parameters it is known by."""
    for shape in SIZES.values():
        config = ModelConfig(**shape)
        assert config.heads % config.kv_heads == 0 and config.v_heads % config.k_heads == 0
        assert config.layers % config.attn_every == 0
    assert Model(ModelConfig(**SIZES["xs"])).num_parameters() == (5_525_136, 4_345_488)
