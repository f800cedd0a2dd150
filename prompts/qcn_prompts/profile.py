"""Prompt profiles: the words and the habits for one family of models.

A profile is a folder under `profiles/`: `profile.toml` (settings), `system.md`, `opening.md` and one template an
observation kind. Templates are Jinja, rendered strictly: a missing variable is an error, never a silent blank.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Protocol

import jinja2

from qcn_agent.errors import PromptError


class ParameterLike(Protocol):
    """One argument of a tool."""

    @property
    def name(self) -> str:
        """Its name on the wire."""

    @property
    def type(self) -> str:
        """Its JSON Schema type."""

    @property
    def description(self) -> str:
        """What it means."""

    @property
    def required(self) -> bool:
        """Whether a call without it is refused."""


class ToolLike(Protocol):
    """A tool as a profile describes it to the model."""

    @property
    def name(self) -> str:
        """Its name on the wire."""

    @property
    def description(self) -> str:
        """What it does, and when to use it."""

    @property
    def parameters(self) -> Sequence[ParameterLike]:
        """Its arguments, in the order in which they are listed."""


@dataclass(frozen=True)
class Sampling:
    """Sampling of one attempt; None leaves a value to the model's own default."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None


@dataclass(frozen=True)
class Settings:
    """`profile.toml`: what the loop must know about the family.

    `architectures` are the GGUF architectures it fits. `one_edit`: an attempt is over when its edit does not apply or
    its tests are red (a small model does better from the tree as found). `num_files` bounds the opening's file list.
    `takes_context`: packed context may stand before the opening.
    """

    version: int
    architectures: tuple[str, ...]
    tools: tuple[str, ...]
    attempts: int
    steps_per_attempt: int
    max_turn_tokens: int
    one_edit: bool
    num_files: int
    first: Sampling
    retry: Sampling
    takes_context: bool = False


@dataclass(frozen=True)
class Profile:
    """The words for one family of models. Made by `load`."""

    name: str
    settings: Settings
    _env: jinja2.Environment

    @property
    def id(self) -> str:
        """Name and version, as an embedded model's GGUF carries it in `qcn.prompt_profile`."""
        return f"{self.name}/{self.settings.version}"

    def select(self, tools: Mapping[str, ToolLike]) -> list[ToolLike]:
        """The profile's tools in its own order. Raises PromptError when one is missing."""
        missing = [name for name in self.settings.tools if name not in tools]
        if missing:
            raise PromptError(f"profile {self.name} wants tools that do not exist: {', '.join(missing)}")
        return [tools[name] for name in self.settings.tools]

    def system(self, tools: Sequence[ToolLike]) -> str:
        """The system turn's text."""
        return self._render("system.md", {"tools": tools})

    def opening(self, *, issue: str, files: Sequence[str], num_files: int, tests: str) -> str:
        """The first user turn: the issue, (part of) the file list, and the test results before any change."""
        return self._render(
            "opening.md", {"issue": issue.strip(), "files": files, "num_files": num_files, "tests": tests}
        )

    def observe(self, kind: str, fields: Mapping[str, Any]) -> str:
        """The words of a tool's answer. Raises PromptError for an unknown kind or a missing field."""
        return self._render(f"observations/{kind}.md", fields)

    def kinds(self) -> list[str]:
        """All observation kinds that the profile has words for."""
        names = self._env.list_templates(filter_func=lambda name: name.startswith("observations/"))
        return sorted(name.removeprefix("observations/").removesuffix(".md") for name in names)

    def _render(self, template: str, variables: Mapping[str, Any]) -> str:
        try:
            return self._env.get_template(template).render(variables).rstrip("\n")
        except jinja2.TemplateNotFound as error:
            raise PromptError(f"profile {self.name} has no template {error.name}") from error
        except jinja2.UndefinedError as error:
            raise PromptError(f"profile {self.name}, {template}: {error.message}") from error


def names() -> list[str]:
    """All profiles that exist."""
    folder = resources.files("qcn_prompts") / "profiles"
    return sorted(entry.name for entry in folder.iterdir() if (entry / "profile.toml").is_file())


@cache
def load(name: str) -> Profile:
    """Read the profile `name`. Raises PromptError when there is none."""
    folder = resources.files("qcn_prompts") / "profiles" / name
    if name not in names():
        raise PromptError(f"no prompt profile {name!r}", hint=f"profiles: {', '.join(names())}")
    table = tomllib.loads((folder / "profile.toml").read_text(encoding="utf-8"))
    for key in ("first", "retry"):
        table[key] = Sampling(**table[key])
    table["tools"] = tuple(table["tools"])
    table["architectures"] = tuple(table["architectures"])
    env = jinja2.Environment(  # noqa: S701 - prompts are plain text, nothing here is HTML
        loader=jinja2.PackageLoader("qcn_prompts", f"profiles/{name}"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    env.filters["clip"] = _clip
    return Profile(name, Settings(**table), env)


def _clip(text: str, num_chars: int) -> str:
    """At most `num_chars` characters; a cut is shown by an ellipsis."""
    return text if len(text) <= num_chars else text[: num_chars - 1] + "…"
