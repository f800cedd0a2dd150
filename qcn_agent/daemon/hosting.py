"""The model in memory: loaded once for all clients, swapped only when nobody uses it."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qcn_agent.config import ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Generator
from qcn_agent.errors import PromptError, QcnError, UsageError
from qcn_agent.models.embedded import embedded_model_path
from qcn_prompts import Profile, load, names

logger = logging.getLogger(__name__)
DEFAULT_PROFILE = "qwen3_coder"
Say = Callable[[str], None]


class Loaded(Protocol):
    """What a run needs of a model in memory: something that makes tokens, and the words for it."""

    @property
    def engine(self) -> Generator:
        """Makes tokens."""

    @property
    def profile(self) -> Profile:
        """The words."""


class Host(Protocol):
    """Keeps a model for all clients."""

    def use(self, path: str, say: Say) -> AbstractAsyncContextManager[Loaded]:
        """The model at `path` (empty: the loaded one, else the configured one), for as long as the block lasts."""

    async def load(self, path: str, say: Say) -> Path:
        """Load the model at `path` and keep it; returns its path."""

    def status(self) -> dict[str, Any]:
        """JSON values for the status."""

    async def close(self) -> None:
        """Unload."""


@dataclass(frozen=True)
class Hosted:
    """A loaded model and the words for it."""

    path: Path
    engine: Engine
    profile: Profile


class ModelHost:
    """At most one model at a time. Used on the event loop's thread; loading happens beside it."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._hosted: Hosted | None = None
        self._lock = asyncio.Lock()
        self._num_users = 0
        self._loading = ""

    @contextlib.asynccontextmanager
    async def use(self, path: str, say: Say) -> AsyncIterator[Hosted]:
        """The model at `path` (empty: the loaded one, else the configured one), for as long as the block lasts.

        Raises UsageError when another model is loaded and in use, ModelError when it can't be loaded.
        """
        async with self._lock:
            hosted = await self._ensure(self._wanted(path), say)
            self._num_users += 1
        try:
            yield hosted
        finally:
            self._num_users -= 1

    async def load(self, path: str, say: Say) -> Path:
        """Load the model at `path` (empty: the configured one) and keep it. Raises like `use`."""
        async with self.use(path, say) as hosted:
            return hosted.path

    def status(self) -> dict[str, Any]:
        """The model's part of the status, as JSON values."""
        if self._loading:
            return {"state": "loading", "path": self._loading}
        if self._hosted is None:
            return {"state": "none", "path": str(self._wanted(""))}
        status = dataclasses.asdict(self._hosted.engine.status())
        return {"state": "loaded", "profile": self._hosted.profile.id, "num_users": self._num_users, **status}

    async def close(self) -> None:
        """Unload."""
        hosted, self._hosted = self._hosted, None
        if hosted is not None:
            await asyncio.to_thread(hosted.engine.close)

    def _wanted(self, path: str) -> Path:
        if path:
            return Path(path).expanduser().resolve()
        if self._hosted is not None:
            return self._hosted.path
        return Path(self._config.path).expanduser().resolve() if self._config.path else embedded_model_path()

    async def _ensure(self, path: Path, say: Say) -> Hosted:
        if self._hosted is not None and self._hosted.path == path:
            return self._hosted
        if self._num_users and self._hosted is not None:
            raise UsageError(
                f"the daemon is using {self._hosted.path.name}, so it can't load {path.name}",
                hint="wait until its runs have ended, or: qcn-agent stop",
            )
        await self.close()
        say(f"loading {path.name}")
        self._loading = str(path)
        try:
            self._hosted = await self._load(path, say)
        finally:
            self._loading = ""
        return self._hosted

    async def _load(self, path: Path, say: Say) -> Hosted:
        loop = asyncio.get_running_loop()

        shown = 0

        def progress(fraction: float) -> None:
            nonlocal shown
            if int(fraction * 20) > shown:  # llama.cpp reports every tensor
                shown = int(fraction * 20)
                loop.call_soon_threadsafe(say, f"loading {path.name}: {fraction:.0%}")

        engine = await asyncio.to_thread(Engine.load, self._config, path, on_progress=progress)
        try:
            return Hosted(path, engine, choose_profile(engine.metadata))
        except QcnError:
            await asyncio.to_thread(engine.close)
            raise


def choose_profile(metadata: Mapping[str, str]) -> Profile:
    """The prompt profile for a model: the one its GGUF names, else the one for its architecture.

    Raises PromptError when the GGUF names one that does not exist here or in another version, or when no profile
    fits the architecture.
    """
    wanted = metadata.get("qcn.prompt_profile", "")
    if wanted:
        profile = load(wanted.partition("/")[0])
        if profile.id != wanted:
            raise PromptError(
                f"the model was trained with prompt profile {wanted}, this version has {profile.id}",
                hint="use the model that comes with this version",
            )
        return profile
    architecture = metadata.get("general.architecture", "")
    profile = load(DEFAULT_PROFILE)
    if architecture not in profile.settings.architectures:
        raise PromptError(
            f"there is no prompt profile for models of architecture {architecture!r}",
            hint=f"profiles: {', '.join(names())}; use a Qwen3-Coder model",
        )
    return profile
