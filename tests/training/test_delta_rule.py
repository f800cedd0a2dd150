"""The chunked delta rule against its definition."""

from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra (torch)")

from qcn_agent.training.delta_rule import UnitLowerInverse, delta_rule  # noqa: E402
from qcn_agent.training.model import unit_l2  # noqa: E402

pytestmark = pytest.mark.torch


def token_by_token(q: Any, k: Any, v: Any, log_decay: Any, beta: Any) -> Any:
    """The recurrence as it is written down: decay, erase what the key recalls, write, read."""
    batch, length, heads, width = q.shape
    state = torch.zeros(batch, heads, width, v.shape[-1])
    outputs = []
    for t in range(length):
        state = state * log_decay[:, t, :, None, None].exp()
        recalled = torch.einsum("bhk,bhkv->bhv", k[:, t], state)
        write = beta[:, t, :, None] * (v[:, t] - recalled)
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], write)
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, t], state))
    return torch.stack(outputs, 1)


def inputs(length: int) -> tuple[Any, Any, Any, Any, Any]:
    """Random q, k, v, log decay and beta."""
    torch.manual_seed(1)
    q, k = (unit_l2(torch.randn(2, length, 3, 8)) for _ in range(2))
    v = torch.randn(2, length, 3, 6)
    return q, k, v, -torch.rand(2, length, 3), torch.rand(2, length, 3)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 40])
def test_chunks_compute_the_recurrence(length: int) -> None:
    """Within a chunk, across chunks and with a ragged end, outputs are those of the plain loop."""
    values = inputs(length)
    assert torch.allclose(delta_rule(*values, 16), token_by_token(*values), atol=1e-5)


def test_the_chunk_size_does_not_matter() -> None:
    """Different chunkings give the same outputs."""
    values = inputs(33)
    assert torch.allclose(delta_rule(*values, 8), delta_rule(*values, 32), atol=1e-5)


def test_gradients_are_those_of_the_recurrence() -> None:
    """Backward through the chunks equals backward through the loop."""
    gradients = []
    for rule in (partial(delta_rule, chunk=8), token_by_token):
        values = [value.clone().requires_grad_() for value in inputs(20)]
        rule(*values).square().sum().backward()
        gradients.append([value.grad for value in values])
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_later_tokens_do_not_reach_back() -> None:
    """Outputs up to a token depend on nothing after it."""
    values = inputs(24)
    before = delta_rule(*values, 8)[:, :11]
    for value in values:
        value[:, 11:] = torch.rand_like(value[:, 11:])
    values[3][:, 11:] *= -1
    assert torch.allclose(delta_rule(*values, 8)[:, :11], before, atol=1e-6)


def test_the_inverse_is_an_inverse() -> None:
    """(I + A)^-1 (I + A) = I for strictly lower triangular A of any usual size."""
    for size in (2, 16, 64):
        a = torch.randn(3, size, size).tril(-1) * 0.3
        product = UnitLowerInverse.apply(a) @ (torch.eye(size) + a)
        assert torch.allclose(product, torch.eye(size).expand_as(product), atol=1e-3)
