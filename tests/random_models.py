"""Random-weight models made on the spot, for tests and benchmarks: small, with the embedded model's vocabulary.

What is cached and evaluated doesn't depend on the weights, and a random model costs no download.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from qcn_agent.models.embedded import embedded_model_path

CONTROL = int(gguf.TokenType.CONTROL)


@dataclass(frozen=True)
class HybridShape:
    """A small `qwen3next`: each fourth layer is attention, the others keep a recurrent state of 70 KiB each."""

    num_layers: int = 8
    n_ctx: int = 131_072
    width: int = 128
    heads: int = 2
    kv_heads: int = 1
    head_size: int = 64
    attention_interval: int = 4
    experts: int = 4
    experts_used: int = 2
    expert_width: int = 64
    state_size: int = 64
    key_heads: int = 2
    value_heads: int = 4
    kernel: int = 4

    def is_attention(self, layer: int) -> bool:
        """Whether a layer keeps keys and values; the others keep a state."""
        return (layer + 1) % self.attention_interval == 0

    @property
    def inner(self) -> int:
        """Width of a recurrent layer's values."""
        return self.value_heads * self.state_size

    @property
    def channels(self) -> int:
        """Width of a recurrent layer's queries, keys and values."""
        return self.inner + 2 * self.key_heads * self.state_size


HYBRID = HybridShape()


def write_hybrid(path: Path, shape: HybridShape = HYBRID, *, seed: int = 0) -> None:
    """Write a random float32 `qwen3next` GGUF. Its greedy choice is never a control token, so no answer ends early."""
    reader = gguf.GGUFReader(embedded_model_path())
    writer = gguf.GGUFWriter(path, "qwen3next")
    for key, value in _hybrid_sizes(shape).items():
        writer.add_uint32(f"qwen3next.{key}", value)
    writer.add_float32("qwen3next.rope.freq_base", 1e6)
    writer.add_float32("qwen3next.attention.layer_norm_rms_epsilon", 1e-6)
    _copy_vocabulary(reader, writer)
    tokens, types = (reader.fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "token_type"))
    random = np.random.default_rng(seed)
    shapes = {"token_embd.weight": (len(tokens), shape.width), "output_norm.weight": (shape.width,)}
    shapes["output.weight"] = (len(tokens), shape.width)
    for layer in range(shape.num_layers):
        shapes |= {f"blk.{layer}.{name}": size for name, size in _hybrid_layer(shape, layer).items()}
    for name, size in shapes.items():
        weights = _hybrid_weights(random, name, size)
        if name == "output.weight":
            weights[np.array(types) == CONTROL] = 0  # a logit of 0: far below the greatest of thousands
        writer.add_tensor(name, weights)
    _finish(writer)


def _hybrid_sizes(shape: HybridShape) -> Mapping[str, int]:
    return {
        "block_count": shape.num_layers,
        "context_length": shape.n_ctx,
        "embedding_length": shape.width,
        "feed_forward_length": shape.experts * shape.expert_width,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_size,
        "attention.value_length": shape.head_size,
        "rope.dimension_count": shape.head_size // 4,
        "expert_count": shape.experts,
        "expert_used_count": shape.experts_used,
        "expert_feed_forward_length": shape.expert_width,
        "expert_shared_feed_forward_length": shape.expert_width,
        "ssm.conv_kernel": shape.kernel,
        "ssm.state_size": shape.state_size,
        "ssm.group_count": shape.key_heads,
        "ssm.time_step_rank": shape.value_heads,
        "ssm.inner_size": shape.inner,
        "full_attention_interval": shape.attention_interval,
    }


def _hybrid_layer(shape: HybridShape, layer: int) -> Mapping[str, tuple[int, ...]]:
    width, hidden, experts = shape.width, shape.expert_width, shape.experts
    mixer = _attention(shape) if shape.is_attention(layer) else _delta_net(shape)
    return {
        "attn_norm.weight": (width,),
        "post_attention_norm.weight": (width,),
        **mixer,
        "ffn_gate_inp.weight": (experts, width),
        "ffn_gate_exps.weight": (experts, hidden, width),
        "ffn_up_exps.weight": (experts, hidden, width),
        "ffn_down_exps.weight": (experts, width, hidden),
        "ffn_gate_inp_shexp.weight": (width,),
        "ffn_gate_shexp.weight": (hidden, width),
        "ffn_up_shexp.weight": (hidden, width),
        "ffn_down_shexp.weight": (width, hidden),
    }


def _attention(shape: HybridShape) -> Mapping[str, tuple[int, ...]]:
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    return {
        "attn_q.weight": (2 * queries, shape.width),  # with the gate
        "attn_k.weight": (keys, shape.width),
        "attn_v.weight": (keys, shape.width),
        "attn_output.weight": (shape.width, queries),
        "attn_q_norm.weight": (shape.head_size,),
        "attn_k_norm.weight": (shape.head_size,),
    }


def _delta_net(shape: HybridShape) -> Mapping[str, tuple[int, ...]]:
    return {
        "attn_qkv.weight": (shape.channels, shape.width),
        "attn_gate.weight": (shape.inner, shape.width),
        "ssm_ba.weight": (2 * shape.value_heads, shape.width),
        "ssm_conv1d.weight": (shape.channels, shape.kernel),
        "ssm_a": (shape.value_heads,),
        "ssm_dt.bias": (shape.value_heads,),
        "ssm_norm.weight": (shape.state_size,),
        "ssm_out.weight": (shape.width, shape.inner),
    }


def _hybrid_weights(random: np.random.Generator, name: str, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Sizes as after an initialisation for training; norms are one, the states' decay is slow."""
    if name.endswith("ssm_a"):
        weights = -random.uniform(0.01, 0.5, size)
    elif name.endswith("ssm_dt.bias") or ("shexp" in name and len(size) == 1):
        weights = random.normal(0, 0.1, size)
    elif len(size) == 1:
        weights = np.ones(size)
    else:
        weights = random.normal(0, size[-1] ** -0.5, size)
    return weights.astype(np.float32)


def write_attention(path: Path, *, with_vocabulary: bool = True) -> None:
    """Write a random two-layer llama: it has KV only. Without a vocabulary llama.cpp loads it, and fails at text."""
    reader = gguf.GGUFReader(embedded_model_path())
    writer = gguf.GGUFWriter(path, "llama")
    width, hidden, heads = 64, 128, 4
    writer.add_block_count(2)
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(width // heads)
    n_vocab = len(reader.fields["tokenizer.ggml.tokens"].data)
    if with_vocabulary:
        _copy_vocabulary(reader, writer)
    else:
        writer.add_tokenizer_model("no_vocab")
        writer.add_vocab_size(n_vocab)
    random = np.random.default_rng(0)
    shapes = {"token_embd.weight": (n_vocab, width), "output_norm.weight": (width,), "output.weight": (n_vocab, width)}
    for layer in range(2):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}.weight"] = (width, width)
        shapes[f"blk.{layer}.ffn_gate.weight"] = shapes[f"blk.{layer}.ffn_up.weight"] = (hidden, width)
        shapes[f"blk.{layer}.ffn_down.weight"] = (width, hidden)
        shapes[f"blk.{layer}.attn_norm.weight"] = shapes[f"blk.{layer}.ffn_norm.weight"] = (width,)
    for name, shape in shapes.items():
        weights = np.ones(shape) if len(shape) == 1 else random.normal(0, 0.3, shape)
        writer.add_tensor(name, weights.astype(np.float32))
    _finish(writer)


def _copy_vocabulary(reader: Any, writer: Any) -> None:
    def contents(key: str) -> Any:
        return reader.fields[f"tokenizer.ggml.{key}"].contents()

    writer.add_tokenizer_model(contents("model"))
    writer.add_tokenizer_pre(contents("pre"))
    writer.add_token_list(contents("tokens"))
    writer.add_token_types(contents("token_type"))
    writer.add_token_merges(contents("merges"))
    writer.add_eos_token_id(contents("eos_token_id"))


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
