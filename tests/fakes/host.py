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
        self.loaded: list[str] = []

    @contextlib.asynccontextmanager
    async def use(self, path: str, say: Say) -> AsyncIterator["ScriptedHost"]:
        """Itself."""
        say("loading scripted.gguf")
        self.loaded.append(path)
        yield self

    async def load(self, path: str, say: Say) -> Path:
        """Pretend."""
        self.loaded.append(path)
        return self.path

    def status(self) -> dict[str, Any]:
        """No model."""
        return {"state": "none", "path": "scripted.gguf"}

    async def close(self) -> None:
        """Nothing to close."""
