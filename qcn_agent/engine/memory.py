"""Whether a model fits into memory, asked before a byte of it is loaded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.config import ModelConfig
from qcn_agent.errors import ModelTooLargeError
from qcn_agent.gguf import GGUFHeader

_KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
_MIB = 1 << 20
_EXPERTS = re.compile(r"blk\.(\d+)\.ffn_(up|down|gate|gate_up)_(ch|)exps")
_LAYER = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of main memory that a model needs."""

    weights: int
    kv_cache: int
    states: int
    compute: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv_cache + self.states + self.compute


def check_fits(
    headers: tuple[GGUFHeader, ...],
    config: ModelConfig,
    n_ctx: int,
    n_seq_max: int,
    *,
    gpu: bool,
    root: Path = Path("/"),
) -> None:
    """Raise ModelTooLargeError when the model needs more than is available; `gpu`: the build can offload layers.

    Mapped weights count too: they could be paged, but a model that does not fit would read its disk for each token.
    `root` stands before /proc and /sys.
    """
    needed = estimate(headers, config, n_ctx, n_seq_max, gpu=gpu)
    available = available_bytes(root)
    if available is not None and needed.total > available:
        raise ModelTooLargeError(
            f"{headers[0].path.name} needs {_mib(needed.total)}, {_mib(available)} are available", hint=_advice(needed)
        )


def check_beside(first: MemoryEstimate, second: MemoryEstimate, root: Path = Path("/")) -> None:
    """Raise ModelTooLargeError when two models, or contexts, need more together than is available now."""
    available = available_bytes(root)
    if available is not None and first.total + second.total > available:
        raise ModelTooLargeError(
            f"{_mib(second.total)} beside {_mib(first.total)} are needed, {_mib(available)} are available",
            hint="lower completion.n_ctx, or use a smaller completion.model",
        )


def estimate(
    headers: tuple[GGUFHeader, ...], config: ModelConfig, n_ctx: int, n_seq_max: int, *, gpu: bool
) -> MemoryEstimate:
    """What stays in main memory. Layers that go to a GPU are left out; llama.cpp checks those itself."""
    shape = _Shape.of(headers[0])
    offloaded = _offloaded_layers(config, shape.n_layer) if gpu else 0
    host_share = 1 - min(offloaded, shape.n_layer) / max(shape.n_layer, 1)
    return MemoryEstimate(
        weights=sum(_host_weights(header, config, shape.n_layer, offloaded) for header in headers),
        kv_cache=int(shape.kv_elements * n_ctx * _KV_BYTES[config.kv_type] * host_share),
        states=int(shape.state_bytes * n_seq_max * host_share),
        compute=_compute_bytes(shape, config, n_ctx, n_seq_max),
    )


def available_bytes(root: Path = Path("/")) -> int | None:
    """What can be used now: free memory and page cache, within the limits of the control group. None if unknown."""
    limits = [limit for limit in (_meminfo(root), _cgroup_v2(root), _cgroup_v1(root)) if limit is not None]
    return min(limits) if limits else None


@dataclass(frozen=True)
class _Shape:
    """The dimensions that memory depends on. `kv_elements` per token, `state_bytes` per sequence."""

    n_layer: int
    n_embd: int
    n_vocab: int
    kv_elements: int
    state_bytes: int

    @staticmethod
    def of(header: GGUFHeader) -> "_Shape":
        def number(key: str, default: int = 0) -> int:
            return header.integer(f"{header.architecture}.{key}", default)

        n_layer, n_embd, n_head = number("block_count"), number("embedding_length"), number("attention.head_count", 1)
        recurrent = _recurrent_layers(header, n_layer)
        head_dim = n_embd // max(n_head, 1)
        width = number("attention.key_length", head_dim) + number("attention.value_length", head_dim)
        heads = sum(n for n, state in zip(_kv_heads(header, n_layer, n_head), recurrent, strict=True) if not state)
        inner, state = number("ssm.inner_size"), number("ssm.state_size")
        convolution = max(number("ssm.conv_kernel") - 1, 0) * (inner + 2 * number("ssm.group_count") * state)
        vocab = header.metadata.get("tokenizer.ggml.tokens")
        return _Shape(
            n_layer=n_layer,
            n_embd=n_embd,
            n_vocab=int(getattr(vocab, "length", 0)),
            kv_elements=heads * width,
            state_bytes=4 * sum(recurrent) * (convolution + inner * state),
        )


def _recurrent_layers(header: GGUFHeader, n_layer: int) -> list[bool]:
    """Which layers hold a state instead of KV: listed, or all but each n-th, or all when there are no heads."""
    listed = header.metadata.get(f"{header.architecture}.attention.recurrent_layers")
    if isinstance(listed, tuple) and len(listed) == n_layer:
        return [bool(flag) for flag in listed]
    if not header.integer(f"{header.architecture}.ssm.inner_size"):
        return [False] * n_layer
    interval = header.integer(
        f"{header.architecture}.full_attention_interval", 0 if header.architecture != "qwen3next" else 4
    )
    return [not interval or (layer + 1) % interval != 0 for layer in range(n_layer)]


def _kv_heads(header: GGUFHeader, n_layer: int, n_head: int) -> list[int]:
    value = header.metadata.get(f"{header.architecture}.attention.head_count_kv", n_head)
    if isinstance(value, tuple) and len(value) == n_layer:
        return [int(n) for n in value]
    return [value if isinstance(value, int) else n_head] * n_layer


def _offloaded_layers(config: ModelConfig, n_layer: int) -> int:
    """Layers on the GPU, counted from the end; the output is one more."""
    return n_layer + 1 if config.gpu_layers < 0 else min(config.gpu_layers, n_layer + 1)


def _host_weights(header: GGUFHeader, config: ModelConfig, n_layer: int, offloaded: int) -> int:
    return sum(t.num_bytes for t in header.tensors if _on_host(t.name, config, n_layer, offloaded))


def _on_host(name: str, config: ModelConfig, n_layer: int, offloaded: int) -> bool:
    experts = _EXPERTS.match(name)
    if experts is not None and int(experts[1]) < config.n_cpu_moe:
        return True
    layer = _LAYER.match(name)
    if layer is None:
        return name.startswith("token_embd") or not offloaded
    return int(layer[1]) < n_layer + 1 - offloaded if offloaded else True


def _compute_bytes(shape: _Shape, config: ModelConfig, n_ctx: int, n_seq_max: int) -> int:
    """A guess: attention mask, activations of one ubatch, logits, and what libraries take."""
    mask = 2 * n_ctx * config.n_ubatch
    activations = 4 * 32 * shape.n_embd * config.n_ubatch
    return mask + activations + 4 * shape.n_vocab * n_seq_max + 64 * _MIB


def _advice(needed: MemoryEstimate) -> str:
    if needed.kv_cache > max(needed.weights, needed.states):
        return f"the KV cache takes {_mib(needed.kv_cache)}: lower model.n_ctx, or set model.kv_type to q8_0"
    if needed.states > needed.weights:
        return f"the recurrent states take {_mib(needed.states)}: lower model.max_states"
    return f"the weights take {_mib(needed.weights)}: use a smaller quantisation, or close other programs"


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / _MIB:,.0f} MiB"


def _meminfo(root: Path) -> int | None:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _cgroup_v2(root: Path) -> int | None:
    group = re.search(r"^0::/(.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)
    base = root / "sys/fs/cgroup"
    limits = []
    for folder in _lineage(base, group[1] if group else ""):
        limits.append(_left(folder / "memory.max", folder / "memory.current", _stat(folder), "file"))
    return min((limit for limit in limits if limit is not None), default=None)


def _cgroup_v1(root: Path) -> int | None:
    folder = root / "sys/fs/cgroup/memory"
    return _left(folder / "memory.limit_in_bytes", folder / "memory.usage_in_bytes", _stat(folder), "cache")


def _lineage(base: Path, group: str) -> list[Path]:
    """The group's folder and all above it: each may carry a limit."""
    folder = base / group.strip("/")
    return [folder, *(parent for parent in folder.parents if parent == base or base in parent.parents)]


def _left(limit_file: Path, used_file: Path, stat: Mapping[str, int], cache_key: str) -> int | None:
    """Limit minus use, page cache not counted as used, though shared memory is. None without a limit."""
    limit, used = _text(limit_file).strip(), _text(used_file).strip()
    if not limit.isdigit() or not used.isdigit() or int(limit) >= 1 << 60:
        return None
    reclaimable = stat.get(cache_key, 0) - stat.get("shmem", 0)
    return max(0, int(limit) - max(0, int(used) - max(0, reclaimable)))


def _stat(folder: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(folder / "memory.stat").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
