"""Cheap snapshots are proven once per build, model and device; where they fail, whole sequences are copied."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from qcn_agent import paths
from qcn_agent.config import ModelConfig
from qcn_agent.engine import selftest
from qcn_agent.engine.backend import Run
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.llama_model import load_model

MakeBackend = Callable[..., LlamaBackend]


class ForgetfulBackend(LlamaBackend):
    """A build whose state copies do not work: the cheap snapshot keeps nothing."""

    def snapshot(self, src: int, park: int) -> None:
        """Copy only in the full mode."""
        if self.full_copies:
            super().snapshot(src, park)


class CountingBackend(LlamaBackend):
    """Counts decode calls."""

    num_calls = 0

    def decode(self, runs: Sequence[Run]) -> None:
        """Count, then decode."""
        self.num_calls += 1
        super().decode(runs)


@pytest.fixture
def forgetful(model_path: Path, config: ModelConfig) -> ForgetfulBackend:
    """A backend that fails the test."""
    return ForgetfulBackend(load_model(config, (model_path,)), config)


def test_the_embedded_model_passes(backend: LlamaBackend, config: ModelConfig) -> None:
    """With the pinned build, cheap snapshots are exact, and the backend is empty afterwards."""
    assert selftest.ensure(backend, config, "f") == selftest.PASSED
    assert not backend.full_copies
    assert [backend.length(seq_id) for seq_id in range(3)] == [0, 0, 0]


def test_full_copies_pass_the_same_test(backend: LlamaBackend) -> None:
    """The fallback is exact, too."""
    backend.full_copies = True
    assert selftest.run(backend)


def test_a_build_that_fails_gets_full_copies(forgetful: ForgetfulBackend, config: ModelConfig) -> None:
    """The result says so, the flag is set, and then the same proof holds."""
    assert selftest.ensure(forgetful, config, "f") == selftest.FULL_COPIES
    assert forgetful.full_copies
    assert selftest.run(forgetful)
    forgetful.close()


def test_a_result_is_computed_once(model_path: Path, config: ModelConfig) -> None:
    """The second time it comes from the cache; another model or layout is tested anew; a damaged file, too."""
    backend = CountingBackend(load_model(config, (model_path,)), config)

    def calls(fingerprint: str, settings: ModelConfig = config) -> int:
        before = backend.num_calls
        assert selftest.ensure(backend, settings, fingerprint) == selftest.PASSED
        return backend.num_calls - before

    assert calls("f") > 0
    assert calls("f") == 0
    assert calls("g") > 0
    assert calls("f", replace(config, n_cpu_moe=1)) > 0
    for file in (paths.cache_dir() / "selftest").iterdir():
        file.write_text("{damaged")
    assert calls("f") > 0
    backend.close()


def test_a_remembered_failure_sets_the_flag_again(
    forgetful: ForgetfulBackend, config: ModelConfig, make_backend: MakeBackend
) -> None:
    """The cached result is acted on, not only reported."""
    selftest.ensure(forgetful, config, "f")
    forgetful.close()
    backend = make_backend()
    assert selftest.ensure(backend, config, "f") == selftest.FULL_COPIES
    assert backend.full_copies


def test_a_decode_that_fails_is_a_failed_test(backend: LlamaBackend) -> None:
    """A device that can't run it gets the careful way, and the backend is left empty."""
    abort = api.ggml_abort_callback(lambda _: True)
    api.llama_set_abort_callback(backend._context, abort, None)
    assert not selftest.run(backend)
    api.llama_set_abort_callback(backend._context, api.ggml_abort_callback(0), None)
    assert backend.length(0) == 0


def test_pure_attention_needs_no_test(
    make_backend: MakeBackend, attention_model_path: Path, config: ModelConfig
) -> None:
    """There is no state to copy."""
    assert selftest.ensure(make_backend(path=attention_model_path), config, "f") == selftest.NOT_NEEDED


def test_the_smallest_context_is_enough(make_backend: MakeBackend, config: ModelConfig) -> None:
    """The proof shrinks with the context instead of running out of room."""
    backend = make_backend(n_ctx=16)
    assert selftest.ensure(backend, config, "f") == selftest.PASSED


def test_a_home_that_can_t_be_written_costs_only_the_cache(
    backend: LlamaBackend, config: ModelConfig, home: Path
) -> None:
    """The result holds for this start."""
    (home / "cache").write_text("in the way")
    assert selftest.ensure(backend, config, "f") == selftest.PASSED
