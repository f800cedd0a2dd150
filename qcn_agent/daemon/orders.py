"""What clients ask of the daemon, checked."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from qcn_agent.errors import UsageError

MIN_BUDGET, MAX_BUDGET = 256, 1 << 20
_RUN_ID = re.compile(r"[0-9a-f-]{22}")
_KINDS = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    Sequence[str]: "a list of strings",
    Mapping[str, str]: "an object with strings as values",
    Mapping[str, Any]: "an object",
}


@dataclass(frozen=True)
class FixOrder:
    """A `qcn/fix` request: what to do, where, and the client's own circumstances."""

    workspace: str
    issue: str
    env: Mapping[str, str]
    fix: Mapping[str, Any]
    model: str = ""
    seed: int = 0
    keep: bool = False
    dry_run: bool = False
    unsandboxed: bool = False
    run_id: str = ""  # the client's name for the run, by which it finds the journal should we die

    @classmethod
    def from_json(cls, params: Mapping[str, Any]) -> "FixOrder":
        """Check a request's parameters. Raises UsageError naming what is wrong."""
        _check_keys("qcn/fix", cls, params, {"workspace", "issue", "env", "fix"})
        order = cls(**params)
        _check_issue(order.workspace, order.issue)
        if order.run_id and not _RUN_ID.fullmatch(order.run_id):
            raise UsageError(f"{order.run_id!r} is no run id", hint="are both sides the same version?")
        return order


@dataclass(frozen=True)
class ContextOrder:
    """A `qcn/context` request: at most `budget` tokens for an issue; 0: three quarters of the model's context.

    `trusted` are folders whose AGENTS.md files are believed; `with_tokens` asks for the token ids, too.
    """

    workspace: str
    issue: str
    budget: int = 0
    trusted: Sequence[str] = ()
    model: str = ""
    with_tokens: bool = False

    @classmethod
    def from_json(cls, params: Mapping[str, Any]) -> "ContextOrder":
        """Check a request's parameters. Raises UsageError naming what is wrong."""
        _check_keys("qcn/context", cls, params, {"workspace", "issue"})
        order = cls(**params)
        _check_issue(order.workspace, order.issue)
        if order.budget and not MIN_BUDGET <= order.budget <= MAX_BUDGET:
            hint = f"give a number of tokens from {MIN_BUDGET} to {MAX_BUDGET:,}, or leave it out"
            raise UsageError(f"a budget of {order.budget:,} tokens is outside the range", hint=hint)
        return order


def _check_keys(method: str, kind: type, params: Mapping[str, Any], required: set[str]) -> None:
    known = {field.name for field in dataclasses.fields(kind)}
    unknown, missing = sorted(params.keys() - known), sorted(required - params.keys())
    if unknown or missing:
        raise UsageError(f"{method}: unknown {unknown}, missing {missing}", hint="are both sides the same version?")
    hints = get_type_hints(kind)
    for name, value in params.items():
        if not _is_a(hints[name], value):
            raise UsageError(f"{method}: {name} is a {type(value).__name__}", hint=f"it must be {_KINDS[hints[name]]}")


def _is_a(kind: Any, value: Any) -> bool:
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == Sequence[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == Mapping[str, str]:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    return isinstance(value, get_origin(kind) or kind)


def _check_issue(workspace: str, issue: str) -> None:
    if not Path(workspace).is_absolute() or not Path(workspace).is_dir():
        raise UsageError(f"{workspace!r} is not a directory", hint="name an existing one with --workspace")
    if not issue.strip():
        raise UsageError("the issue is empty", hint="say in a sentence what is wrong")
