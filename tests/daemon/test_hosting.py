"""The model in memory: loaded once, swapped when idle, refused when busy; and which words it gets."""

import shutil
from pathlib import Path

import pytest

from qcn_agent.config import ModelConfig
from qcn_agent.daemon.hosting import ModelHost, choose_profile
from qcn_agent.errors import ModelNotFoundError, PromptError, UsageError
from qcn_agent.models.embedded import embedded_model_path

CONFIG = ModelConfig(n_ctx=512, max_sessions=1, max_snapshots=2)


async def test_model_is_loaded_once_and_stays() -> None:
    """A second user finds it in memory; the progress is told."""
    host = ModelHost(CONFIG)
    said: list[str] = []
    async with host.use("", said.append) as first:
        pass
    async with host.use("", said.append) as second:
        assert first is second
    status = host.status()
    await host.close()

    assert said[0] == f"loading {embedded_model_path().name}"
    assert (status["state"], status["num_users"]) == ("loaded", 0)
    assert host.status()["state"] == "none"


async def test_other_model_is_swapped_when_idle_and_refused_when_busy(tmp_path: Path) -> None:
    """Never two models in memory, and never one pulled away from under a run."""
    other = tmp_path / "other.gguf"
    shutil.copy(embedded_model_path(), other)
    host = ModelHost(CONFIG)

    async with host.use("", lambda _: None):
        with pytest.raises(UsageError, match=r"other\.gguf") as caught:
            await host.load(str(other), lambda _: None)
    assert "qcn-agent stop" in caught.value.hint
    assert await host.load(str(other), lambda _: None) == other
    assert await host.load("", lambda _: None) == other
    await host.close()


async def test_failed_load_leaves_the_host_usable(tmp_path: Path) -> None:
    """A missing file is an error; the next request works."""
    host = ModelHost(CONFIG)
    with pytest.raises(ModelNotFoundError):
        await host.load(str(tmp_path / "none.gguf"), lambda _: None)

    assert host.status()["state"] == "none"
    await host.load("", lambda _: None)
    await host.close()


def test_profile_is_the_one_the_model_names() -> None:
    """A trained-in profile wins; a version that does not exist here is an error."""
    assert choose_profile({"qcn.prompt_profile": "mini/1", "general.architecture": "qwen3next"}).id == "mini/1"
    with pytest.raises(PromptError, match="mini/999"):
        choose_profile({"qcn.prompt_profile": "mini/999"})
    with pytest.raises(PromptError, match="no prompt profile"):
        choose_profile({"qcn.prompt_profile": "no_such/1"})


def test_profile_by_architecture() -> None:
    """The family's profile for its architectures; others are told what there is."""
    assert choose_profile({"general.architecture": "qwen3next"}).name == "qwen3_coder"
    with pytest.raises(PromptError, match="llama") as caught:
        choose_profile({"general.architecture": "llama"})
    assert "qwen3_coder" in caught.value.hint
