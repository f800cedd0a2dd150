"""A host without a model: gives runs a scripted generator."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from qcn_agent.daemon.hosting import Say
from qcn_prompts import Profile, load
from tests.fakes.scripted import ScriptedGenerator


class ScriptedHost:
    """Hosts a scripted generator instead of a model."""

    def __init__(self, generator: ScriptedGenerator) -> None:
        self.engine = generator
        self.profile: Profile = load("mini")
        self.path = Path("scripted.gguf")
        self.wanted: list[str] = []
        self.metadata: dict[str, str] = {}
        self.is_on_gpu = False

    @contextlib.asynccontextmanager
    async def use(self, path: str, say: Say) -> AsyncIterator["ScriptedHost"]:
        """Itself."""
        say("loading scripted.gguf")
        self.wanted.append(path)
        yield self

    async def load(self, path: str, say: Say) -> Path:
        """Pretend."""
        self.wanted.append(path)
        return self.path

    def loaded(self) -> "ScriptedHost":
        """Itself."""
        return self

    @property
    def completion(self) -> ScriptedGenerator:
        """The same one."""
        return self.engine

    def status(self) -> dict[str, Any]:
        """No model."""
        return {"state": "none", "path": "scripted.gguf"}

    async def close(self) -> None:
        """Nothing to close."""
