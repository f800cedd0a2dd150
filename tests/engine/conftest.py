"""Real models for the engine's tests: the embedded hybrid, and a tiny pure-attention one made on the spot."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import ModelConfig, SchedulerConfig
from qcn_agent.engine.backend import Run
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Event, Finished, FloatArray, GenerationRequest, IntArray, TextDelta
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_model import load_model
from qcn_agent.models.embedded import embedded_model_path
from tests import random_models

MakeBackend = Callable[..., LlamaBackend]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private home, so that no self-test result leaks between tests."""
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("QCN_AGENT_HOME", str(path))
    return path


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The embedded model: hybrid, with recurrent states."""
    return embedded_model_path()


@pytest.fixture(scope="session")
def attention_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer llama with the embedded model's vocabulary: it has KV only."""
    path = tmp_path_factory.mktemp("models") / "attention.gguf"
    random_models.write_attention(path)
    return path


@pytest.fixture(scope="session")
def hybrid_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random float32 hybrid: where calls differ only in the order of sums, its logits hardly do."""
    path = tmp_path_factory.mktemp("models") / "hybrid.gguf"
    random_models.write_hybrid(path)
    return path


@pytest.fixture(scope="session")
def tokenless_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a tokenizer: llama.cpp loads it, and would end the process at the first text."""
    path = tmp_path_factory.mktemp("models") / "tokenless.gguf"
    random_models.write_attention(path, with_vocabulary=False)
    return path


@pytest.fixture
def config() -> ModelConfig:
    """Small: 2048 tokens, chunks of 64, one thread."""
    return ModelConfig(n_ctx=2048, n_ubatch=64, n_threads=1, max_states=9)


@pytest.fixture
def make_backend(model_path: Path, config: ModelConfig) -> Iterator[MakeBackend]:
    """Make loaded backends; keyword arguments change settings, `path` the model."""
    made: list[LlamaBackend] = []

    def make(path: Path = model_path, **changes: Any) -> LlamaBackend:
        settings = replace(config, **changes)
        made.append(LlamaBackend(load_model(settings, (path,)), settings))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make_backend: MakeBackend) -> LlamaBackend:
    """The embedded model with the small settings."""
    return make_backend()


@pytest.fixture
def engine(model_path: Path, config: ModelConfig) -> Iterator[Engine]:
    """A running engine over the embedded model, one token a call."""
    loaded = Engine.load(config, model_path, scheduling=SchedulerConfig(speculate="off"))
    yield loaded
    loaded.close()


@pytest.fixture
def random_tokens() -> Callable[[int, int], IntArray]:
    """`random_tokens(count, seed)`: ordinary tokens, none of them special."""
    return lambda count, seed: np.random.default_rng(seed).integers(300, 8000, count).astype(np.int32)


@pytest.fixture
def replay(make_backend: MakeBackend) -> Callable[..., FloatArray]:
    """`replay(tokens, splits)`: logits of a fresh context that decodes `tokens` in calls ending at `splits`."""

    def run(tokens: IntArray, splits: tuple[int, ...], **changes: Any) -> FloatArray:
        fresh = make_backend(**changes)
        begin = 0
        for end in splits:
            fresh.decode([Run(0, tokens[begin:end], begin, True)])
            begin = end
        return fresh.logits()

    return run


@pytest.fixture
def finish() -> Callable[[AsyncIterator[Event]], Any]:
    """`await finish(engine.generate(...))`: the text and the Finished event."""

    async def run(events: AsyncIterator[Event]) -> tuple[str, Finished]:
        text = ""
        async for event in events:
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, Finished):
                return text, event
        raise AssertionError("no Finished event")

    return run


@pytest.fixture
def request_for() -> Callable[..., GenerationRequest]:
    """`request_for(prompt, ...)`: eight tokens in session "s" unless told otherwise."""

    def make(prompt: IntArray, **changes: Any) -> GenerationRequest:
        return replace(GenerationRequest("s", prompt, 8), **changes)

    return make
