"""All tools together, and the check of arguments."""

from typing import Any

import pytest

from qcn_tools.base import Observation, Parameter, ToolSpec
from qcn_tools.environment import TestsUnavailable
from qcn_tools.process import CommandRunner
from qcn_tools.registry import build_tools, check_arguments, json_schema
from qcn_tools.workspace import AtomicWriter, Workspace

SPEC = ToolSpec(
    "edit",
    "Edit.",
    (
        Parameter("path", "string", "Path."),
        Parameter("old_string", "string", "Old."),
        Parameter("first_line", "integer", "Line.", required=False),
        Parameter("all", "boolean", "All.", required=False),
    ),
)
GIVEN = {"path": "a", "old_string": "b"}


@pytest.mark.parametrize(
    ("arguments", "checked"),
    [
        (GIVEN, GIVEN),
        ({"file_path": "a", "old_str": "b"}, GIVEN),
        ({"Filename": "a", "old": "b"}, GIVEN),
        (GIVEN | {"first_line": " 12\n"}, GIVEN | {"first_line": 12}),
        (GIVEN | {"start_line": 12.0}, GIVEN | {"first_line": 12}),
        (GIVEN | {"first_line": ""}, GIVEN),
        (GIVEN | {"first_line": None, "all": "None"}, GIVEN),
        (GIVEN | {"all": "True"}, GIVEN | {"all": True}),
        (GIVEN | {"all": "no"}, GIVEN | {"all": False}),
        ({"path": "a", "old_string": '{"x": 1}'}, {"path": "a", "old_string": '{"x": 1}'}),
        ({"path": "a", "old_string": "null"}, {"path": "a", "old_string": "null"}),
        ({"path": "a", "old_string": ""}, {"path": "a", "old_string": ""}),
        ({"path": "a", "old_string": "12"}, {"path": "a", "old_string": "12"}),
    ],
)
def test_accepted(arguments: dict[str, Any], checked: dict[str, Any]) -> None:
    """Other names and number words are understood; text stays exactly what it was."""
    assert check_arguments(SPEC, arguments) == checked


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "missing argument 'path'"),
        ({"path": "a"}, "missing argument 'old_string'"),
        (GIVEN | {"colour": "red"}, "unknown argument 'colour'"),
        (GIVEN | {"file_path": "b"}, "unknown argument 'file_path'"),
        (GIVEN | {"first_line": "ten"}, "'first_line' must be a integer"),
        (GIVEN | {"first_line": 1.5}, "'first_line' must be a integer"),
        (GIVEN | {"first_line": True}, "'first_line' must be a integer"),
        (GIVEN | {"first_line": "9" * 5000}, "'first_line' must be a integer"),
        (GIVEN | {"all": "maybe"}, "'all' must be a boolean"),
        ({"path": 1, "old_string": "b"}, "'path' must be a string"),
        ({"path": None, "old_string": "b"}, "'path' must be a string"),
    ],
)
def test_rejected(arguments: dict[str, Any], problem: str) -> None:
    """What can't be understood is answered with the problem and the schema."""
    answer = check_arguments(SPEC, arguments)
    assert isinstance(answer, Observation)
    assert (answer.kind, answer.ok, answer.fields["tool"]) == ("invalid_arguments", False, "edit")
    assert problem in answer.fields["problem"]
    assert answer.fields["schema"] == json_schema(SPEC)


def test_json_schema() -> None:
    """The schema is a closed object with what is required."""
    schema = json_schema(SPEC)
    assert (schema["required"], schema["additionalProperties"]) == (["path", "old_string"], False)
    assert schema["properties"]["first_line"] == {"type": "integer", "description": "Line."}


async def test_build_tools(workspace: Workspace, runner: CommandRunner) -> None:
    """All tools are there, by their names, and answer to their own specification."""
    tools = build_tools(workspace, AtomicWriter(workspace.root), runner, TestsUnavailable("no", "hint"))
    expected = ["read_file", "list_directory", "search", "edit_file", "write_file", "run_tests", "git_diff", "finish"]
    assert list(tools) == expected
    for tool in tools.values():
        words = {p.name: "x" for p in tool.spec.parameters if p.required}
        checked = check_arguments(tool.spec, words)
        assert isinstance(checked, dict)
        assert isinstance(await tool.run(checked), Observation)


async def test_finish(workspace: Workspace, runner: CommandRunner) -> None:
    """`finish` hands the summary back."""
    tools = build_tools(workspace, AtomicWriter(workspace.root), runner, TestsUnavailable("no", "hint"))
    assert await tools["finish"].run({"summary": "done"}) == Observation("finished", {"summary": "done"})
