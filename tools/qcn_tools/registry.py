"""Which tools there are, and the check of the arguments a model gives them."""

from collections.abc import Mapping
from typing import Any

from qcn_tools.base import Observation, Parameter, Tool, ToolSpec, Writer
from qcn_tools.directory import ListDirectory
from qcn_tools.edit import EditFile
from qcn_tools.environment import TestCommand, TestsUnavailable
from qcn_tools.finish import Finish
from qcn_tools.git_diff import GitDiff
from qcn_tools.process import CommandRunner
from qcn_tools.read import ReadFile
from qcn_tools.run_tests import RunTests
from qcn_tools.search import Search
from qcn_tools.workspace import Workspace
from qcn_tools.write import WriteFile

ALIASES = {
    "path": ("file_path", "filepath", "filename", "file", "file_name", "directory", "dir", "folder"),
    "old_string": ("old_str", "old_text", "old", "search", "find"),
    "new_string": ("new_str", "new_text", "new", "replace", "replacement"),
    "content": ("contents", "text", "file_text", "file_content", "code", "data"),
    "pattern": ("query", "regex", "search", "text"),
    "first_line": ("start_line", "start", "line_start", "offset"),
    "last_line": ("end_line", "end", "line_end"),
    "paths": ("path", "tests", "test", "test_path", "test_paths", "file"),
    "summary": ("message", "text", "result"),
}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NOTHING = ("", "none", "null")


def build_tools(
    workspace: Workspace,
    writer: Writer,
    runner: CommandRunner,
    test_command: TestCommand | TestsUnavailable,
    *,
    observation_chars: int = 10_000,
    command_s: float = 120.0,
) -> Mapping[str, Tool]:
    """All tools by name. `observation_chars` bounds one answer, `command_s` (seconds) one test run."""
    tools: tuple[Tool, ...] = (
        ReadFile(workspace, observation_chars),
        ListDirectory(workspace),
        Search(workspace),
        EditFile(workspace, writer),
        WriteFile(workspace, writer),
        RunTests(workspace, runner, test_command, command_s, observation_chars),
        GitDiff(workspace, runner, observation_chars),
        Finish(),
    )
    return {tool.spec.name: tool for tool in tools}


def json_schema(spec: ToolSpec) -> dict[str, Any]:
    """JSON Schema (an object) of a tool's arguments."""
    properties = {p.name: {"type": p.type, "description": p.description} for p in spec.parameters}
    required = [p.name for p in spec.parameters if p.required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def check_arguments(spec: ToolSpec, arguments: Mapping[str, Any]) -> dict[str, Any] | Observation:
    """Arguments by their right names and with their right types, or what is wrong with them.

    Common other names are accepted, numbers and truth values are read from text, an optional number that is empty
    counts as not given. Text is never interpreted: what looks like JSON stays text.
    """
    renamed = _renamed(spec, arguments)
    known = {p.name: p for p in spec.parameters}
    unknown = [name for name in renamed if name not in known]
    if unknown:
        return _invalid(spec, f"unknown argument {unknown[0]!r}")
    checked: dict[str, Any] = {}
    for name, value in renamed.items():
        if not known[name].required and _is_nothing(known[name], value):
            continue
        converted = _converted(known[name], value)
        if converted is None:
            return _invalid(spec, f"argument {name!r} must be a {known[name].type}, not {value!r:.60}")
        checked[name] = converted
    missing = [p.name for p in spec.parameters if p.required and p.name not in checked]
    if missing:
        return _invalid(spec, f"missing argument {missing[0]!r}")
    return checked


def _renamed(spec: ToolSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    names = {p.name for p in spec.parameters}
    renamed = {name: value for name, value in arguments.items() if name in names}
    for name, value in arguments.items():
        if name in names:
            continue
        free = [p.name for p in spec.parameters if name.casefold() in (p.name, *ALIASES.get(p.name, ()))]
        target = next((candidate for candidate in free if candidate not in renamed), name)
        renamed[target] = value
    return renamed


def _is_nothing(parameter: Parameter, value: Any) -> bool:
    return value is None or (
        parameter.type != "string" and isinstance(value, str) and value.strip().casefold() in _NOTHING
    )


def _converted(parameter: Parameter, value: Any) -> Any | None:
    """`value` with the parameter's type; None when it can't be read as one."""
    if parameter.type == "string":
        return value if isinstance(value, str) else None
    if parameter.type == "boolean":
        return value if isinstance(value, bool) else _BOOLEANS.get(str(value).strip().casefold())
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    try:
        return int(str(value).strip()) if len(str(value)) < 20 else None
    except ValueError:
        return None


def _invalid(spec: ToolSpec, problem: str) -> Observation:
    return Observation(
        "invalid_arguments", {"tool": spec.name, "problem": problem, "schema": json_schema(spec)}, ok=False
    )
