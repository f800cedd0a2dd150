"""What every tool shares: its specification, its result and what it may touch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Parameter:
    """One argument of a tool. `type` is a JSON Schema type; strings are passed through verbatim."""

    name: str
    type: Literal["string", "integer", "boolean"]
    description: str
    required: bool = True


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the model sees it."""

    name: str
    description: str
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True)
class Observation:
    """What a tool answers. A prompt profile turns `kind` and `fields` into words.

    A failure of the tool's own work (no such file, no match, red tests) is an observation with `ok=False`;
    only a failure of the harness is an exception.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    ok: bool = True


class ChangedMeanwhileError(Exception):
    """The file no longer holds what the change is based on; nothing was written."""


class Writer(Protocol):
    """The only way a tool changes a file. The agent's implementation records the old bytes first."""

    def write(self, path: Path, data: bytes, expected: bytes | None) -> None:
        """Replace or create `path` (absolute, inside the workspace) with `data`, atomically and keeping its mode.

        `expected` are the bytes that the change is based on; None: the file must not exist. Raises
        ChangedMeanwhileError when the file holds anything else.
        """


class Tool(Protocol):
    """One thing the model can do."""

    @property
    def spec(self) -> ToolSpec:
        """Name, description and parameters."""

    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """Do it. `arguments` are already checked against the specification."""
