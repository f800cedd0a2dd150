"""Memory is estimated from the header and compared with what the machine and its control group leave."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qcn_agent import gguf
from qcn_agent.config import ModelConfig
from qcn_agent.engine.memory import MemoryEstimate, available_bytes, check_beside, check_fits, estimate
from qcn_agent.errors import ModelTooLargeError
from qcn_agent.gguf import GGUFHeader, TensorInfo, Value

MIB = 1 << 20
MakeRoot = Callable[..., Path]


@pytest.fixture
def headers(model_path: Path) -> tuple[GGUFHeader, ...]:
    """The embedded model's."""
    return gguf.check(model_path)


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    """A root folder with the given files: `make_root({"proc/meminfo": "..."})`."""

    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def _meminfo(mib: int) -> dict[str, str]:
    return {"proc/meminfo": f"MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable:   {mib * 1024} kB\n"}


def _real_model(header: GGUFHeader) -> GGUFHeader:
    """The dimensions of Qwen3-Coder-Next: 36 recurrent and 12 attention layers."""
    keys = {
        "block_count": 48,
        "embedding_length": 2048,
        "attention.head_count": 16,
        "attention.head_count_kv": 2,
        "attention.key_length": 256,
        "attention.value_length": 256,
        "ssm.conv_kernel": 4,
        "ssm.state_size": 128,
        "ssm.group_count": 16,
        "ssm.inner_size": 4096,
        "full_attention_interval": 4,
    }
    metadata: dict[str, Value] = {
        "general.architecture": "qwen3next",
        **{f"qwen3next.{key}": value for key, value in keys.items()},
    }
    expert = 512 * 2048 * 512  # elements; type 24 takes one byte each
    tensors = [
        TensorInfo(f"blk.{layer}.ffn_{part}_exps.weight", (2048, 512, 512), 24, 0)
        for layer in range(48)
        for part in ("up", "down", "gate")
    ]
    assert tensors[0].num_bytes == expert
    return replace(header, metadata=metadata, tensors=(TensorInfo("token_embd.weight", (2048, 1000), 24, 0), *tensors))


def test_the_estimate_agrees_with_what_llama_cpp_allocates(headers: tuple[GGUFHeader, ...]) -> None:
    """For 32768 tokens and 17 sequences its log says 5.65 MiB weights, 32 MiB KV, 2.32 MiB states, 40 MiB compute."""
    needed = estimate(headers, ModelConfig(), 32768, 17, gpu=False)
    assert needed.kv_cache == 32 * MIB
    assert needed.states / MIB == pytest.approx(2.32, abs=0.01)
    assert needed.weights / MIB == pytest.approx(5.65, abs=0.01)
    assert 40 <= needed.compute / MIB < 160
    assert needed.total == needed.weights + needed.kv_cache + needed.states + needed.compute


def test_the_real_model_s_state_and_cache_have_the_known_sizes(headers: tuple[GGUFHeader, ...]) -> None:
    """75.375 MiB a state and 24 KiB of KV a token."""
    real = (_real_model(headers[0]),)
    needed = estimate(real, ModelConfig(), 1000, 1, gpu=False)
    assert needed.states == int(75.375 * MIB)
    assert needed.kv_cache == 1000 * 24 * 1024


@pytest.mark.parametrize(("kv_type", "bytes_per_token"), [("f16", 24_576), ("q8_0", 13_056), ("q4_0", 6_912)])
def test_the_cache_type_sets_the_bytes_of_a_token(
    headers: tuple[GGUFHeader, ...], kv_type: str, bytes_per_token: int
) -> None:
    """As llama.cpp lays out the quantised blocks."""
    needed = estimate((_real_model(headers[0]),), ModelConfig(kv_type=kv_type), 10, 1, gpu=False)
    assert needed.kv_cache == 10 * bytes_per_token


def test_what_goes_to_a_gpu_is_left_out(headers: tuple[GGUFHeader, ...]) -> None:
    """All layers, some, none, and experts that are kept back; without a GPU in the build everything counts."""
    real = (_real_model(headers[0]),)
    layer = 3 * 512 * 2048 * 512
    embedding = 2048 * 1000

    def weights(*, gpu: bool, gpu_layers: int = -1, n_cpu_moe: int = 0) -> int:
        config = ModelConfig(gpu_layers=gpu_layers, n_cpu_moe=n_cpu_moe)
        return estimate(real, config, 1000, 1, gpu=gpu).weights

    assert weights(gpu=False) == 48 * layer + embedding
    assert weights(gpu=True) == embedding
    assert weights(gpu=True, gpu_layers=0) == 48 * layer + embedding
    assert weights(gpu=True, gpu_layers=11) == 38 * layer + embedding
    assert weights(gpu=True, n_cpu_moe=20) == 20 * layer + embedding
    assert estimate(real, ModelConfig(), 1000, 1, gpu=True).kv_cache == 0


def test_a_model_without_states_has_none(attention_model_path: Path) -> None:
    """Pure attention: all layers hold KV, 2 layers x 4 heads x (16 + 16) x 2 bytes a token."""
    needed = estimate(gguf.check(attention_model_path), ModelConfig(), 100, 20, gpu=False)
    assert needed.states == 0
    assert needed.kv_cache == 100 * 2 * 4 * 32 * 2


def test_heads_may_differ_from_layer_to_layer(headers: tuple[GGUFHeader, ...]) -> None:
    """A list of KV heads is added up over the attention layers."""
    metadata = {**headers[0].metadata, "qwen3next.attention.head_count_kv": (9, 1, 9, 3)}
    needed = estimate((replace(headers[0], metadata=metadata),), ModelConfig(), 1, 1, gpu=False)
    assert needed.kv_cache == (1 + 3) * (64 + 64) * 2


def test_free_memory_is_read_from_meminfo(make_root: MakeRoot) -> None:
    """MemAvailable, page cache included."""
    assert available_bytes(make_root(_meminfo(500))) == 500 * MIB


def test_nothing_known_is_no_limit(make_root: MakeRoot) -> None:
    """On systems without these files no check is made."""
    assert available_bytes(make_root({})) is None


def test_a_version_2_group_limits_with_its_cache_given_back(make_root: MakeRoot) -> None:
    """Limit minus use plus file cache without shared memory, for the group and for each group above it."""
    root = make_root(
        {
            **_meminfo(5000),
            "proc/self/cgroup": "0::/user/app\n",
            "sys/fs/cgroup/user/app/memory.max": f"{900 * MIB}\n",
            "sys/fs/cgroup/user/app/memory.current": f"{400 * MIB}\n",
            "sys/fs/cgroup/user/app/memory.stat": f"anon 1\nfile {170 * MIB}\nshmem {20 * MIB}\n",
            "sys/fs/cgroup/user/memory.max": f"{600 * MIB}\n",
            "sys/fs/cgroup/user/memory.current": f"{200 * MIB}\n",
            "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/memory.current": "1\n",
        }
    )
    assert available_bytes(root) == 400 * MIB
    (root / "sys/fs/cgroup/user/memory.max").write_text("max\n")
    assert available_bytes(root) == 650 * MIB


def test_a_version_1_group_limits_too(make_root: MakeRoot) -> None:
    """Its "no limit" is a huge number."""
    folder = "sys/fs/cgroup/memory"
    files = {
        **_meminfo(5000),
        f"{folder}/memory.limit_in_bytes": f"{300 * MIB}",
        f"{folder}/memory.usage_in_bytes": f"{100 * MIB}",
    }
    root = make_root(files)
    assert available_bytes(root) == 200 * MIB
    (root / folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert available_bytes(root) == 5000 * MIB


def test_a_model_that_fits_passes(headers: tuple[GGUFHeader, ...], make_root: MakeRoot) -> None:
    """Nothing is raised."""
    check_fits(headers, ModelConfig(), 32768, 17, gpu=False, root=make_root(_meminfo(4000)))


@pytest.mark.parametrize(
    ("config", "n_ctx", "n_seq_max", "advice"),
    [
        (ModelConfig(), 262_144, 17, "model.n_ctx"),
        (ModelConfig(), 256, 3000, "model.max_states"),
        (ModelConfig(), 256, 2, "smaller quantisation"),
    ],
)
def test_a_model_that_does_not_fit_says_what_to_lower(
    headers: tuple[GGUFHeader, ...], make_root: MakeRoot, config: ModelConfig, n_ctx: int, n_seq_max: int, advice: str
) -> None:
    """Needed, available, and the setting that takes most."""
    with pytest.raises(ModelTooLargeError, match=r"needs [\d,]+ MiB, 20 MiB are available") as caught:
        check_fits(headers, config, n_ctx, n_seq_max, gpu=False, root=make_root(_meminfo(20)))
    assert advice in caught.value.hint


def test_two_models_must_fit_together(make_root: MakeRoot) -> None:
    """Each fits alone; together they need more than is there, and the error says how much the second one wants."""
    first, second = MemoryEstimate(60 * MIB, 0, 0, 0), MemoryEstimate(0, 30 * MIB, 10 * MIB, 1 * MIB)
    root = make_root(_meminfo(100))
    with pytest.raises(ModelTooLargeError, match=r"41 MiB beside 60 MiB are needed, 100 MiB"):
        check_beside(first, second, root)
    check_beside(first, MemoryEstimate(0, 30 * MIB, 10 * MIB, 0), root)
