"""Settings reach llama.cpp as meant, and a load that fails says why."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import ModelConfig
from qcn_agent.engine.backend import Run
from qcn_agent.engine.generator import IntArray
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_model import context_length, expert_patterns, load_model, num_threads, tensor_overrides
from qcn_agent.errors import ConfigError, ModelError, ModelFormatError, RequestCancelledError

MakeBackend = Callable[..., LlamaBackend]


def test_progress_rises_to_one(model_path: Path) -> None:
    """The caller sees the load go from 0 to 1."""
    seen: list[float] = []
    load_model(ModelConfig(), (model_path,), seen.append).close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_returning_false_aborts_the_load(model_path: Path) -> None:
    """The load ends with an error of its own kind."""
    with pytest.raises(RequestCancelledError):
        load_model(ModelConfig(), (model_path,), lambda _: False)


def test_an_exception_of_the_callback_comes_out(model_path: Path) -> None:
    """It crosses C unharmed."""

    def fail(_: float) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        load_model(ModelConfig(), (model_path,), fail)


def test_an_unknown_architecture_is_named(model_path: Path, tmp_path: Path) -> None:
    """What llama.cpp logged is the reason, and the hint tells the user to update."""
    path = tmp_path / "other.gguf"
    path.write_bytes(model_path.read_bytes().replace(b"qwen3next", b"qwen9next"))
    with pytest.raises(ModelFormatError, match="unknown model architecture: 'qwen9next'") as caught:
        load_model(ModelConfig(), (path,))
    assert "update" in caught.value.hint


def test_a_model_with_a_missing_tensor_is_refused(model_path: Path, tmp_path: Path) -> None:
    """Damage that the header does not show is found by llama.cpp, and reported."""
    path = tmp_path / "damaged.gguf"
    path.write_bytes(model_path.read_bytes().replace(b"output_norm.weight", b"output_xxxx.weight"))
    with pytest.raises(ModelFormatError, match="output_norm"):
        load_model(ModelConfig(), (path,))


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"mmap": False}, 0.05),
        ({"n_cpu_moe": 2}, 0.05),
        ({"override_tensor": (r"blk\..*_exps=CPU",)}, 0.05),
        ({"gpu_layers": 0}, 0.05),
        ({"flash_attention": False}, 0.5),  # other kernels: logits have a standard deviation of about 3
    ],
)
def test_placements_do_not_change_the_answer(
    make_backend: MakeBackend, random_tokens: Callable[[int, int], IntArray], changes: dict[str, Any], tolerance: float
) -> None:
    """Wherever the weights lie, the logits agree closely."""
    plain, other = make_backend(), make_backend(**changes)
    for backend in (plain, other):
        backend.decode([Run(0, random_tokens(40, 1), 0, True)])
    np.testing.assert_allclose(other.logits(), plain.logits(), atol=tolerance)


def test_an_unknown_buffer_type_lists_the_known() -> None:
    """So that a user of a CPU build sees that there is no CUDA0."""
    with pytest.raises(ConfigError, match="no buffer type 'CUDA7'") as caught:
        tensor_overrides(ModelConfig(override_tensor=("x=CUDA7",)))
    assert "CPU" in caught.value.hint


@pytest.mark.parametrize("item", ["pattern", "=CPU", "(=CPU", ""])
def test_a_malformed_placement_is_a_config_error(item: str) -> None:
    """Neither llama.cpp nor its regular expressions see it."""
    with pytest.raises(ConfigError, match=r"model\.override_tensor"):
        tensor_overrides(ModelConfig(override_tensor=(item,)))


def test_a_pattern_may_hold_an_equals_sign() -> None:
    """The last one separates."""
    table = tensor_overrides(ModelConfig(override_tensor=("a=b=CPU",)))
    assert (table[0].pattern, table[1].pattern) == (b"a=b", None)


def test_too_many_placements_are_refused() -> None:
    """llama.cpp's table is bounded."""
    with pytest.raises(ConfigError, match="too many"):
        tensor_overrides(ModelConfig(override_tensor=("x=CPU",) * 5000))


def test_nothing_to_place_is_no_table() -> None:
    """A null pointer then."""
    assert tensor_overrides(ModelConfig()) is None


def test_expert_patterns_match_experts_of_the_first_layers_only() -> None:
    """And neither shared experts nor the router."""
    patterns = list(expert_patterns(2))
    names = [
        "blk.0.ffn_up_exps.weight",
        "blk.1.ffn_gate_exps.weight",
        "blk.1.ffn_down_exps.weight",
        "blk.0.ffn_gate_up_exps.weight",
        "blk.2.ffn_up_exps.weight",
        "blk.10.ffn_up_exps.weight",
        "blk.0.ffn_up_shexp.weight",
        "blk.0.ffn_gate_inp.weight",
    ]
    assert [any(re.search(p, name) for p in patterns) for name in names] == [True] * 4 + [False] * 4


def test_too_many_shares_are_a_config_error(model_path: Path) -> None:
    """More shares than devices are possible."""
    with pytest.raises(ConfigError, match=r"model\.tensor_split"):
        load_model(ModelConfig(tensor_split=(1.0,) * 500), (model_path,))


def test_shares_for_the_devices_are_accepted(model_path: Path) -> None:
    """A split among no GPUs loads all the same."""
    load_model(ModelConfig(tensor_split=(1.0, 2.0)), (model_path,)).close()


def test_a_model_without_a_tokenizer_is_refused(tokenless_model_path: Path) -> None:
    """It could not read or write text."""
    with pytest.raises(ModelFormatError, match="does not generate text"):
        load_model(ModelConfig(), (tokenless_model_path,))


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    """Also without the check that comes before."""
    with pytest.raises(ModelError):
        load_model(ModelConfig(), (tmp_path / "none.gguf",))


@pytest.mark.parametrize(
    ("asked", "trained", "expected"), [(0, 4096, 4096), (0, 262_144, 32_768), (65_536, 4096, 65_536)]
)
def test_the_context_is_what_was_asked_for_or_the_model_s_up_to_a_bound(
    asked: int, trained: int, expected: int
) -> None:
    """The bound keeps a 256K model from filling the memory unasked."""
    assert context_length(ModelConfig(n_ctx=asked), trained) == expected


def test_a_tiny_model_gets_one_thread_and_a_large_one_all() -> None:
    """Threads that wait for one another cost a small model most of its speed."""
    assert num_threads(ModelConfig(), 6 << 20) == 1
    assert num_threads(ModelConfig(), 1 << 40) >= num_threads(ModelConfig(), 128 << 20) >= 1
    assert num_threads(ModelConfig(n_threads=7), 1) == 7


def test_llama_cpp_s_log_goes_to_the_logger_only(
    model_path: Path, config: ModelConfig, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing on stdout or stderr, not even when a load fails; errors at the level of errors."""
    with caplog.at_level(logging.DEBUG, logger="qcn_agent.engine.llama"):
        LlamaBackend(load_model(config, (model_path,)), config).close()
        with pytest.raises(ModelError):
            load_model(config, (Path("/nonexistent.gguf"),))
    assert capfd.readouterr() == ("", "")
    levels = {record.levelno for record in caplog.records if record.name == "qcn_agent.engine.llama"}
    assert {logging.DEBUG, logging.ERROR} <= levels
    assert not any("\n" in record.getMessage() for record in caplog.records)
