"""The model in memory: loaded once, swapped when idle, refused when busy; and which words it gets."""

import asyncio
import dataclasses
import json
import os
import random
import shutil
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from qcn_agent.config import CompletionConfig, ModelConfig
from qcn_agent.daemon.hosting import ModelHost, choose_profile
from qcn_agent.engine.engine import Engine
from qcn_agent.errors import (
    DaemonError,
    ModelFormatError,
    ModelNotFoundError,
    PromptError,
    RequestCancelledError,
    UsageError,
)
from qcn_agent.models.embedded import embedded_model_path

CONFIG = ModelConfig(n_ctx=512, max_states=4)


def quiet(_: str) -> None:
    """Listens to nothing."""


def gguf_of(architecture: str) -> bytes:
    """A whole GGUF file without tensors: version 3 and the architecture."""
    key = b"general.architecture"
    pair = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(architecture)) + architecture.encode()
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair


class Counted:
    """How many models are in memory or on their way, the most there ever were, and how many loads began."""

    def __init__(self) -> None:
        self.num_models = self.most = self.num_loads = 0
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        """Count models that come (1) or go (-1)."""
        with self._lock:
            self.num_models += number
            self.num_loads += number > 0
            self.most = max(self.most, self.num_models)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Counts around the real engine's `load` and `close`."""
    counted, load, close = Counted(), Engine.load, Engine.close

    def counting_load(*arguments: Any, **options: Any) -> Engine:
        counted.add(1)
        try:
            return load(*arguments, **options)
        except BaseException:
            counted.add(-1)
            raise

    def counting_close(engine: Engine) -> None:
        close(engine)
        counted.add(-1)

    monkeypatch.setattr(Engine, "load", counting_load)
    monkeypatch.setattr(Engine, "close", counting_close)
    return counted


def begin(host: ModelHost, path: str = "") -> tuple[asyncio.Task[Path], asyncio.Event]:
    """Ask for a model in a task; the event is set when the load has been heard of, or has ended."""
    loading = asyncio.Event()
    task = asyncio.create_task(host.load(path, lambda _: loading.set()))
    task.add_done_callback(lambda _: loading.set())
    return task, loading


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


async def test_failed_load_stands_in_the_status(tmp_path: Path) -> None:
    """Which file, why and what to do, until a load succeeds."""
    (tmp_path / "bad.gguf").write_bytes(b"no model")
    host = ModelHost(CONFIG)
    with pytest.raises(ModelFormatError):
        await host.load(str(tmp_path / "bad.gguf"), quiet)

    failed = host.status()
    await host.load("", quiet)
    loaded = host.status()
    await host.close()

    assert (failed["state"], failed["path"]) == ("failed", str(tmp_path / "bad.gguf"))
    assert "bad.gguf" in failed["reason"]
    assert failed["hint"]
    assert loaded["state"] == "loaded"
    assert host.status()["state"] == "none"


@pytest.mark.parametrize("name", ["circle.gguf", "~no-such-user-here/model.gguf"])
async def test_path_that_leads_nowhere_can_still_be_shown(tmp_path: Path, name: str) -> None:
    """Links in a circle, the home of nobody: the load says that there is no file, and the status works."""
    (tmp_path / "circle.gguf").symlink_to("circle.gguf")
    path = str(tmp_path / name) if name.startswith("circle") else name
    host = ModelHost(dataclasses.replace(CONFIG, path=path))
    assert host.status()["path"].endswith(name)
    with pytest.raises(ModelNotFoundError):
        await host.load("", quiet)
    assert host.status()["state"] == "failed"


async def test_what_is_no_file_name_is_refused() -> None:
    """A client may say anything."""
    with pytest.raises(UsageError, match="is no file name"):
        await ModelHost(CONFIG).load("a\0b", quiet)


async def test_failed_load_leaves_the_host_usable(tmp_path: Path) -> None:
    """A missing file is an error; the next request works."""
    host = ModelHost(CONFIG)
    with pytest.raises(ModelNotFoundError):
        await host.load(str(tmp_path / "none.gguf"), lambda _: None)

    assert host.status()["state"] == "failed"
    await host.load("", lambda _: None)
    await host.close()


@pytest.mark.parametrize(
    ("contents", "error"),
    [(None, ModelNotFoundError), (b"GGUF" * 9, ModelFormatError), (gguf_of("llama"), PromptError)],
)
async def test_model_that_can_not_be_used_leaves_the_loaded_one(
    tmp_path: Path, contents: bytes | None, error: type[Exception]
) -> None:
    """A typo, a damaged file, a family without a profile: the shared model stays in memory as it was."""
    other = tmp_path / "typo.gguf"
    if contents is not None:
        other.write_bytes(contents)
    host = ModelHost(CONFIG)
    async with host.use("", quiet) as before:
        pass

    with pytest.raises(error):
        await host.load(str(other), quiet)

    async with host.use("", quiet) as after:
        assert after is before
    await host.close()


async def test_load_that_nobody_waits_for_any_more_leaves_nothing(counted: Counted) -> None:
    """Cancelled in the middle of loading: the model does not stay in memory, and the next load is the only one."""
    host = ModelHost(CONFIG)
    task, loading = begin(host)
    await loading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with host.use("", quiet):
        assert counted.num_models == 1
    await host.close()

    assert (counted.num_models, counted.most) == (0, 1)
    assert host.status()["state"] == "none"


async def test_second_user_joins_the_load_of_one_who_leaves(counted: Counted) -> None:
    """The first terminal is closed while the model loads: the second gets it from the same load."""
    host = ModelHost(CONFIG)
    first, loading = begin(host)
    await loading.wait()
    second, joined = begin(host)
    await joined.wait()

    first.cancel()
    path = await second

    assert path == embedded_model_path()
    assert (counted.num_loads, counted.num_models) == (1, 1)
    assert host.status()["num_users"] == 0
    await host.close()


async def test_close_gives_up_a_load(counted: Counted) -> None:
    """The daemon ends while a model loads: who waits is told, nothing is left, and nothing begins any more."""
    host = ModelHost(CONFIG)
    task, loading = begin(host)
    await loading.wait()

    await host.close()

    with pytest.raises(RequestCancelledError):
        await task
    with pytest.raises(DaemonError):
        await host.load("", quiet)
    assert counted.num_models == 0


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_cancelled_there_is_one_model(counted: Counted, tmp_path: Path, seed: int) -> None:
    """Users of two models come and are cancelled at random: never a second model, and the last user is served."""
    other = tmp_path / "other.gguf"
    shutil.copy(embedded_model_path(), other)
    host, chance = ModelHost(CONFIG), random.Random(seed)
    tasks = []
    for _ in range(12):
        task, loading = begin(host, chance.choice(["", str(other)]))
        tasks.append(task)
        if chance.random() < 0.5:
            await loading.wait()
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        if chance.random() < 0.8:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert await host.load(str(other), quiet) == other
    assert (counted.num_models, counted.most) == (1, 1)
    await host.close()
    assert counted.num_models == 0


async def test_isolated_model_is_hosted_like_any_other(tmp_path: Path) -> None:
    """Progress, status, swap and close go through to a process of its own."""
    other = tmp_path / "other.gguf"
    shutil.copy(embedded_model_path(), other)
    host = ModelHost(CONFIG, isolation="process")
    said: list[str] = []

    await host.load("", said.append)
    first = host.status()
    await host.load(str(other), quiet)
    second = host.status()
    await host.close()

    assert said[-1].endswith("100%")
    assert [status["isolation"] for status in (first, second)] == ["process", "process"]
    assert len({os.getpid(), first["engine_pid"], second["engine_pid"]}) == 3
    assert (second["state"], second["model_path"], second["n_ctx"]) == ("loaded", str(other), 512)
    assert host.status()["state"] == "none"


async def test_isolated_load_that_nobody_waits_for_is_given_up() -> None:
    """Cancelled in the middle: the next user is served, and after closing no process is left."""
    host = ModelHost(CONFIG, isolation="process")
    task, loading = begin(host)
    await loading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with host.use("", quiet) as hosted:
        assert hosted.engine.status().isolation == "process"
    await host.close()

    assert "qcn-engine-keeper" not in {thread.name for thread in threading.enumerate()}


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


async def test_completions_get_a_context_of_their_own() -> None:
    """As the settings say; the status, which is JSON, shows both, and unloading frees both."""
    host = ModelHost(CONFIG, completion=CompletionConfig(context="own", n_ctx=512))
    await host.load("", quiet)
    status = json.loads(json.dumps(host.status()))
    await host.close()
    assert [context["roles"] for context in status["contexts"]] == [["agent"], ["completion"]]
    assert not [thread for thread in threading.enumerate() if thread.name == "qcn-engine"]
