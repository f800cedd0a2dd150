"""Write a checkpoint as GGUF (architecture qwen3next).

python -m qcn_agent.training.export run/final.pt --out qcn_agent/models/qcn-mini-q8_0.gguf
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

import qcn_prompts
from qcn_agent.training import checkpoint
from qcn_agent.training.model import Model, ModelConfig
from qcn_agent.training.tokenizer import CONTROL, TOKENIZER, USER_DEFINED

ARCHITECTURE = "qwen3next"
NAME = "qcn-mini"
LICENSE = "apache-2.0"
PROFILE = "mini"
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
FILE_TYPES = {"f32": 0, "q8_0": 7}
KEPT_F32 = ("norm", "ssm_a", "ssm_dt", "conv1d", "gate_inp", "ssm_ba")  # small, and the maths leans on them
TOKEN_ROLES = {
    "bos": "<|endoftext|>",
    "eos": "<|im_end|>",
    "eot": "<|im_end|>",
    "padding": "<|endoftext|>",
    "fim_pre": "<|fim_prefix|>",
    "fim_suf": "<|fim_suffix|>",
    "fim_mid": "<|fim_middle|>",
    "fim_pad": "<|fim_pad|>",
    "fim_rep": "<|repo_name|>",
    "fim_sep": "<|file_sep|>",
}
ATTENTION = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "out": "attn_output"}
DELTA_NET = {"qkv": "attn_qkv", "z": "attn_gate", "ba": "ssm_ba", "out": "ssm_out"}
Array = NDArray[np.float32]


def tensors(model: Model) -> Iterator[tuple[str, Array]]:
    """All weights under their GGUF names, as float32."""
    weights = {name: tensor.float().cpu().numpy() for name, tensor in model.state_dict().items()}
    yield "token_embd.weight", weights["embd.weight"]
    yield "output_norm.weight", weights["norm"]
    for layer in range(model.c.layers):
        prefix = f"blocks.{layer}."
        block = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
        mixer = _attention(block) if model.c.is_attention(layer) else _delta_net(block)
        for part in (_norms(block), mixer, _experts(block, model.c)):
            yield from ((f"blk.{layer}.{name}", array) for name, array in part)


def _norms(block: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    yield "attn_norm.weight", block["n1"]
    yield "post_attention_norm.weight", block["n2"]


def _attention(block: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    for ours, theirs in ATTENTION.items():
        yield f"{theirs}.weight", block[f"mix.{ours}.weight"]
    yield "attn_q_norm.weight", block["mix.qn"]
    yield "attn_k_norm.weight", block["mix.kn"]


def _delta_net(block: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    for ours, theirs in DELTA_NET.items():
        yield f"{theirs}.weight", block[f"mix.{ours}.weight"]
    yield "ssm_conv1d.weight", block["mix.conv"]
    yield "ssm_a", -np.exp(block["mix.a_log"])
    yield "ssm_dt.bias", block["mix.dt"]
    yield "ssm_norm.weight", block["mix.norm"]


def _experts(block: dict[str, Array], config: ModelConfig) -> Iterator[tuple[str, Array]]:
    """The routed experts as one array (expert, out, in) each, the shared expert apart."""
    num, width = config.experts, config.ff
    gate, up, down = (block[f"moe.{name}.weight"] for name in ("gate", "up", "down"))
    routed = num * width
    yield "ffn_gate_inp.weight", block["moe.router.weight"]
    yield "ffn_gate_exps.weight", gate[:routed].reshape(num, width, config.d)
    yield "ffn_up_exps.weight", up[:routed].reshape(num, width, config.d)
    yield "ffn_down_exps.weight", down[:, :routed].reshape(config.d, num, width).transpose(1, 0, 2)
    yield "ffn_gate_inp_shexp.weight", block["moe.shared_gate.weight"][0]
    yield "ffn_gate_shexp.weight", gate[routed:]
    yield "ffn_up_shexp.weight", up[routed:]
    yield "ffn_down_shexp.weight", down[:, routed:]


def export(model: Model, out: Path, *, file_type: str, tokenizer: Path = TOKENIZER) -> None:
    """Write `out` ("f32" or "q8_0"). Raises ValueError when the tokenizer's size is not the model's."""
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(out), ARCHITECTURE)
    _write_identity(writer, file_type)
    _write_shape(writer, model.c)
    _write_tokenizer(writer, json.loads(tokenizer.read_text(encoding="utf-8")), model.c.vocab)
    for name, array in tensors(model):
        _write_tensor(writer, name, np.ascontiguousarray(array, dtype=np.float32), quantise=file_type == "q8_0")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_identity(writer: Any, file_type: str) -> None:
    writer.add_string("general.type", "model")
    writer.add_string("general.name", NAME)
    writer.add_string("general.license", LICENSE)
    writer.add_uint32("general.file_type", FILE_TYPES[file_type])
    writer.add_uint32("general.quantization_version", 2)
    writer.add_string("qcn.prompt_profile", qcn_prompts.load(PROFILE).id)


def _write_shape(writer: Any, c: ModelConfig) -> None:
    sizes = {
        "block_count": c.layers,
        "context_length": c.ctx,
        "embedding_length": c.d,
        "feed_forward_length": c.experts * c.ff + c.ff_shared,
        "attention.head_count": c.heads,
        "attention.head_count_kv": c.kv_heads,
        "attention.key_length": c.head_dim,
        "attention.value_length": c.head_dim,
        "rope.dimension_count": c.rot,
        "expert_count": c.experts,
        "expert_used_count": c.top_k,
        "expert_feed_forward_length": c.ff,
        "expert_shared_feed_forward_length": c.ff_shared,
        "ssm.conv_kernel": c.conv,
        "ssm.state_size": c.state,
        "ssm.group_count": c.k_heads,
        "ssm.time_step_rank": c.v_heads,
        "ssm.inner_size": c.v_width,
        "full_attention_interval": c.attn_every,
    }
    for key, value in sizes.items():
        writer.add_uint32(f"{ARCHITECTURE}.{key}", value)
    writer.add_float32(f"{ARCHITECTURE}.rope.freq_base", c.theta)
    writer.add_float32(f"{ARCHITECTURE}.attention.layer_norm_rms_epsilon", c.eps)
    is_recurrent = [not c.is_attention(layer) for layer in range(c.layers)]
    writer.add_array(f"{ARCHITECTURE}.attention.recurrent_layers", is_recurrent)


def _write_tokenizer(writer: Any, content: dict[str, Any], size: int) -> None:
    vocabulary = dict(content["model"]["vocab"]) | {token["content"]: token["id"] for token in content["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[token] for token in tokens] != list(range(size)):
        raise ValueError(f"the tokenizer's {len(tokens)} tokens are not the model's {size}")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([_token_type(token) for token in tokens])
    merges = content["model"]["merges"]
    writer.add_token_merges([" ".join(merge) if isinstance(merge, list) else merge for merge in merges])
    for role, token in TOKEN_ROLES.items():
        writer.add_uint32(f"tokenizer.ggml.{role}_token_id", vocabulary[token])
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_string("tokenizer.chat_template", CHAT_TEMPLATE.read_text(encoding="utf-8"))


def _token_type(token: str) -> Any:
    if token in CONTROL:
        return gguf.TokenType.CONTROL
    return gguf.TokenType.USER_DEFINED if token in USER_DEFINED else gguf.TokenType.NORMAL


def _write_tensor(writer: Any, name: str, array: Array, *, quantise: bool) -> None:
    is_wide = array.ndim >= 2 and array.shape[-1] % 32 == 0 and not any(part in name for part in KEPT_F32)
    if quantise and is_wide:
        q8_0 = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(array, q8_0), raw_dtype=q8_0)
    else:
        writer.add_tensor(name, array)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--type", choices=sorted(FILE_TYPES), default="q8_0")
    args = parser.parse_args()
    model, extra = checkpoint.load(args.checkpoint)
    export(model, args.out, file_type=args.type)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {extra.get('tokens')} tokens of training")


if __name__ == "__main__":
    main()
