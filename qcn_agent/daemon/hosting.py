"""The model in memory: loaded once for all clients, swapped only when nobody uses it."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qcn_agent import gguf
from qcn_agent.config import CompletionConfig, ModelConfig, SchedulerConfig
from qcn_agent.engine.generator import Generator, LoadedEngine
from qcn_agent.errors import DaemonError, PromptError, QcnError, RequestCancelledError, UsageError
from qcn_agent.models.embedded import embedded_model_path
from qcn_prompts import Profile, load, names

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

    @property
    def completion(self) -> Generator:
        """What makes completions."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The scalars of the model's header, as text."""

    @property
    def is_on_gpu(self) -> bool:
        """Whether a GPU computes."""


class Host(Protocol):
    """Keeps a model for all clients."""

    def use(self, path: str, say: Say) -> AbstractAsyncContextManager[Loaded]:
        """The model at `path` (empty: the loaded one, else the configured one), for as long as the block lasts."""

    async def load(self, path: str, say: Say) -> Path:
        """Load the model at `path` and keep it; returns its path."""

    def loaded(self) -> Loaded | None:
        """The model that is in memory now, for whoever does not wait for one. The same object as long as it is."""

    def status(self) -> dict[str, Any]:
        """JSON values for the status."""

    async def close(self) -> None:
        """Unload."""


@dataclass(frozen=True)
class Hosted:
    """A loaded model and the words for it."""

    path: Path
    engine: LoadedEngine
    profile: Profile
    is_on_gpu: bool = False

    @property
    def completion(self) -> Generator:
        """See `Loaded`."""
        return self.engine.completion

    @property
    def metadata(self) -> Mapping[str, str]:
        """See `Loaded`."""
        return self.engine.metadata


class Slot:
    """The one place for a model: it is on its way into memory, or there. Event loop only, but for `abandoned`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_users = 0  # those who wait for it included
        self.abandoned = False  # nobody waits any more: the load, in its thread, gives up
        self.loading: asyncio.Task[Hosted]
        self._listeners: list[Say] = []

    def begin(self, load: Coroutine[Any, Any, Hosted]) -> None:
        """Start `load`, which nobody's cancellation reaches."""
        self.loading = asyncio.create_task(load)
        self.loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # there may be no user left

    @property
    def is_loading(self) -> bool:
        """Whether it is still on its way."""
        return not self.loading.done()

    def enter(self, say: Say) -> None:
        """Become a user, who is told how the load goes on."""
        self.num_users += 1
        self._listeners.append(say)

    def leave(self, say: Say) -> None:
        """Stop being a user. The last one who leaves before the model is there ends its load."""
        self.num_users -= 1
        self._listeners.remove(say)
        if not self.num_users and self.is_loading:
            self.abandoned = True

    async def settled(self) -> None:
        """Wait until it is loaded or has failed; being cancelled meanwhile does not touch the load."""
        await asyncio.wait({self.loading})

    def tell(self, text: str) -> None:
        """Tell all users."""
        for say in self._listeners:
            say(text)


class ModelHost:
    """At most one model at a time. Used on the event loop's thread; loading happens beside it.

    A load is a task of the host, not of who asked first: whatever is cancelled, the next load begins when the memory
    of the one before is free.
    """

    def __init__(
        self,
        config: ModelConfig,
        scheduling: SchedulerConfig | None = None,
        *,
        completion: CompletionConfig | None = None,
        isolation: str = "off",
        trace: Path | None = None,
    ) -> None:
        self._config = config
        self._completion = completion or CompletionConfig()
        self._isolation = isolation
        self._trace = trace
        self._scheduling = scheduling or SchedulerConfig()
        self._slot: Slot | None = None
        self._closed = False
        self._failure: dict[str, str] = {}  # of the last load, if it failed: path, reason, hint

    @contextlib.asynccontextmanager
    async def use(self, path: str, say: Say) -> AsyncIterator[Hosted]:
        """The model at `path` (empty: the loaded one, else the configured one), for as long as the block lasts.

        Raises UsageError when another model is loaded and in use; ModelError or PromptError when it can't be used,
        and if that shows in its header, the model that was there stays.
        """
        slot = await self._slot_for(path, say)
        slot.enter(say)
        try:
            if slot.is_loading:
                say(f"loading {slot.path.name}")
            await slot.settled()
            yield slot.loading.result()
        finally:
            slot.leave(say)

    async def load(self, path: str, say: Say) -> Path:
        """Load the model at `path` (empty: the configured one) and keep it. Raises like `use`."""
        async with self.use(path, say) as hosted:
            return hosted.path

    def loaded(self) -> Hosted | None:
        """See `Host`."""
        slot = self._slot
        return None if slot is None or slot.is_loading else slot.loading.result()

    def status(self) -> dict[str, Any]:
        """The model's part of the status, as JSON values."""
        slot = self._slot
        if slot is None:
            return {"state": "none", "path": str(self._wanted(""))} | self._failure
        if slot.is_loading:
            return {"state": "loading", "path": str(slot.path)}
        hosted = slot.loading.result()
        status = dataclasses.asdict(hosted.engine.status())
        return {"state": "loaded", "profile": hosted.profile.id, "num_users": slot.num_users, **status}

    async def close(self) -> None:
        """Unload, for good; a load that is going on is given up."""
        self._closed = True
        while (slot := self._slot) is not None:
            if slot.is_loading:
                slot.abandoned = True
                await slot.settled()
            else:
                self._slot = None
                await asyncio.to_thread(slot.loading.result().engine.close)

    def _wanted(self, path: str) -> Path:
        if path:
            return _resolved(path)
        if self._slot is not None and not self._slot.is_loading:
            return self._slot.path
        return _resolved(self._config.path) if self._config.path else embedded_model_path()

    async def _slot_for(self, path: str, say: Say) -> Slot:
        """The slot with the wanted model, in which its load may have just begun."""
        while (slot := self._slot) is not None:
            wanted = self._wanted(path)
            if slot.path == wanted and not slot.abandoned:
                return slot
            if not slot.is_loading:
                if slot.num_users:
                    raise _in_use(slot.path, wanted)
                break
            say(f"waiting for {slot.path.name}")
            await slot.settled()
        if self._closed:
            raise DaemonError("the daemon is ending", hint="try again")
        self._slot = Slot(self._wanted(path))
        self._slot.begin(self._load(self._slot, slot))
        return self._slot

    async def _load(self, slot: Slot, old: Slot | None) -> Hosted:
        stays = old
        try:
            profile = await asyncio.to_thread(_profile_of, slot.path)
            if old is not None and not slot.abandoned:
                stays = None
                await asyncio.to_thread(old.loading.result().engine.close)
            engine = await asyncio.to_thread(self._load_engine, slot, asyncio.get_running_loop())
            if slot.abandoned:
                await asyncio.to_thread(engine.close)
                raise _unwanted(slot.path)
        except BaseException as error:
            self._slot = stays
            if isinstance(error, Exception) and not isinstance(error, RequestCancelledError):
                self._failure = _failure(slot.path, error)
            raise
        self._failure = {}
        is_on_gpu = self._config.gpu_layers != 0 and engine.status().gpu_offload
        return Hosted(slot.path, engine, profile, is_on_gpu)

    def _load_engine(self, slot: Slot, loop: asyncio.AbstractEventLoop) -> LoadedEngine:
        """Runs in a thread of its own."""
        shown = 0

        def progress(fraction: float) -> bool:
            nonlocal shown
            if int(fraction * 20) > shown:  # llama.cpp reports every tensor
                shown = int(fraction * 20)
                loop.call_soon_threadsafe(slot.tell, f"loading {slot.path.name}: {fraction:.0%}")
            return not slot.abandoned

        if slot.abandoned:
            raise _unwanted(slot.path)
        load = _loader(self._isolation)
        return load(
            self._config,
            slot.path,
            completion=self._completion,
            scheduling=self._scheduling,
            on_progress=progress,
            trace=self._trace,
        )


def _resolved(path: str) -> Path:
    """Whatever it is, so that it can be named in a status; loading it says what is wrong. Not a name: UsageError."""
    if "\0" in path:
        raise UsageError(f"model: {path!r} is no file name")
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError):  # links in a circle, ~ of nobody
        return Path(path).absolute()


def _loader(isolation: str) -> Callable[..., LoadedEngine]:
    """What loads engines here or in a process of its own; for the latter llama.cpp is not even imported here."""
    if isolation == "process":
        from qcn_agent.engine.isolated_engine import IsolatedEngine

        return IsolatedEngine.load
    from qcn_agent.engine.engines import Engines

    return Engines.load


def _profile_of(path: Path) -> Profile:
    """The words for the model at `path`, from its header. Raises ModelError and PromptError."""
    return choose_profile(gguf.check(path)[0].scalars)


def _failure(path: Path, error: Exception) -> dict[str, str]:
    """The part of the status that says which model could not be loaded, why, and what to do."""
    hint = error.hint if isinstance(error, QcnError) else ""
    again = "name another GGUF file (--model, or model.path in config.toml); the daemon's log says more"
    reason = str(error) if str(path) in str(error) else f"{path}: {error}"
    return {"state": "failed", "path": str(path), "reason": reason, "hint": hint or again}


def _in_use(loaded: Path, wanted: Path) -> UsageError:
    return UsageError(
        f"the daemon is using {loaded.name}, so it can't load {wanted.name}",
        hint="wait until its runs have ended, or: qcn-agent stop",
    )


def _unwanted(path: Path) -> RequestCancelledError:
    return RequestCancelledError(f"loading {path.name} was given up")


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
