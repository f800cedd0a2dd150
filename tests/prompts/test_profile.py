"""Profiles: strict rendering, and whole conversations pinned as golden files."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qcn_agent.errors import PromptError
from qcn_prompts import chatml, load, names
from qcn_tools.registry import build_tools, json_schema
from qcn_tools.report import TestFailure, TestReport

GOLDEN = Path(__file__).parent.parent / "golden"
REPORT = TestReport(
    command="pytest",
    exit_code=1,
    num_passed=2,
    num_failed=1,
    duration_s=0.25,
    failures=(
        TestFailure(
            "tests/test_calc.py::test_clamp", "assert 5 == 3\n+  where 5 = clamp(5, 0, 3)", "tests/test_calc.py:5"
        ),
    ),
)
GREEN = TestReport(command="pytest", exit_code=0, num_passed=3, duration_s=0.25)
CLAMP = "def clamp(value, low, high):\n    return max(low, value)\n"


def specs() -> dict[str, Any]:
    """The real tools' specifications."""
    return {name: tool.spec for name, tool in build_tools(*[SimpleNamespace()] * 4).items()}  # type: ignore[arg-type]


def conversation(name: str) -> str:
    """A whole repair as the profile's model sees it."""
    profile = load(name)
    tools = profile.select(specs())
    opening = profile.opening(
        issue="clamp ignores its upper bound",
        files=["calc.py", "tests/test_calc.py"],
        num_files=2,
        tests=profile.observe("test_report", {"report": REPORT}),
    )
    edit = {"path": "calc.py", "old_string": "max(low, value)", "new_string": "max(low, min(value, high))"}
    file = {"path": "calc.py", "text": CLAMP, "first_line": 1, "last_line": 2, "num_lines": 2}
    edited = {"path": "calc.py", "first_line": 2, "last_line": 2, "snippet": "    return max(low, min(value, high))"}
    pieces = chatml.turn("system", profile.system(tools)) + chatml.turn("user", opening)
    for call, kind, fields in (
        (chatml.tool_call("read_file", {"path": "calc.py"}), "file", {**file, "truncated": False, "encoding_note": ""}),
        (chatml.tool_call("edit_file", edit), "edited", edited),
        (chatml.tool_call("run_tests", {}), "test_report", {"report": GREEN}),
    ):
        pieces += chatml.assistant(call) + chatml.tool_responses([profile.observe(kind, fields)])
    return "".join(text for text, _ in [*pieces, *chatml.assistant("clamp respects both bounds now.")])


@pytest.mark.parametrize("name", names())
def test_whole_conversation_is_pinned(name: str) -> None:
    """A whole repair reads as in tests/golden; `make golden` writes it again after a wanted change."""
    golden = GOLDEN / f"conversation_{name}.txt"
    text = conversation(name)
    if os.environ.get("QCN_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")

    assert golden.read_text(encoding="utf-8") == text


def test_missing_variable_is_an_error() -> None:
    """A template without all its variables raises instead of leaving a blank."""
    with pytest.raises(PromptError, match=r"edited.*path"):
        load("mini").observe("edited", {})


def test_unknown_kind_and_unknown_profile_are_errors() -> None:
    """What has no words is named, with what there is."""
    with pytest.raises(PromptError, match="no_such_kind"):
        load("mini").observe("no_such_kind", {})
    with pytest.raises(PromptError, match="gpt") as caught:
        load("gpt")
    assert "mini" in caught.value.hint


def test_profile_that_wants_a_tool_that_does_not_exist_is_refused() -> None:
    """Selecting tools names those that are missing."""
    with pytest.raises(PromptError, match="run_tests"):
        load("mini").select({"read_file": SimpleNamespace(), "edit_file": SimpleNamespace()})


def test_mini_lists_its_tools_by_signature_in_its_own_order() -> None:
    """The frozen profile shows required parameters only."""
    profile = load("mini")

    system = profile.system(profile.select(specs()))

    assert "Tools: read_file(path), edit_file(path, old_string, new_string), run_tests()." in system
    assert profile.id == "mini/1"


def test_large_profile_describes_every_parameter() -> None:
    """Each tool's parameters, types and required list stand in the system text."""
    profile = load("qwen3_coder")

    system = profile.system(profile.select(specs()))

    for spec in specs().values():
        assert f"<name>{spec.name}</name>" in system
        for parameter in spec.parameters:
            assert parameter.description in system
    assert '<required>["path", "old_string", "new_string"]</required>' in system


SAMPLES: dict[str, dict[str, Any]] = {
    "file": {
        "path": "a.py",
        "text": "x\n",
        "first_line": 1,
        "last_line": 1,
        "num_lines": 9,
        "truncated": True,
        "encoding_note": "",
    },
    "directory": {"path": ".", "entries": ["a/", "b.py"], "truncated": True},
    "matches": {
        "pattern": "x",
        "matches": [{"path": "a.py", "line": 3, "text": "x = 1"}],
        "num_matches": 1,
        "truncated": False,
        "note": "",
    },
    "edited": {"path": "a.py", "first_line": 1, "last_line": 2, "snippet": "x"},
    "written": {"path": "a.py", "num_lines": 3, "created": True},
    "edit_not_found": {"path": "a.py", "first_line": 4, "last_line": 5, "region": "x", "differing_lines": [4]},
    "edit_ambiguous": {"path": "a.py", "lines": [1, 7]},
    "edit_noop": {"path": "a.py"},
    "edit_syntax_error": {"path": "a.py", "line": 3, "message": "invalid syntax"},
    "not_found": {"path": "a.py", "nearest": ["b.py"]},
    "refused": {"path": "/etc/passwd", "reason": "it leads out of the workspace"},
    "error": {"message": "no"},
    "invalid_arguments": {"tool": "read_file", "problem": "missing argument 'path'", "schema": {}},
    "invalid_call": {"problem": "cut off"},
    "repeated_call": {},
    "test_report": {"report": REPORT},
    "tests_unavailable": {"reason": "no pytest", "hint": "install it"},
    "diff": {"text": ""},
    "no_git": {"reason": "not a repository"},
    "finished": {"summary": "fixed"},
}


@pytest.mark.parametrize("name", names())
def test_every_observation_renders(name: str) -> None:
    """Each kind a profile has words for renders from the fields that the tools give, without a trailing newline."""
    profile = load(name)

    for kind in profile.kinds():
        text = profile.observe(kind, SAMPLES[kind])
        assert text and text == text.rstrip("\n"), kind


def test_red_timed_out_and_silent_test_runs_are_told_apart() -> None:
    """A report without any test shows the command's own output."""
    profile = load("mini")
    crashed = TestReport(command="make check", exit_code=2, output="make: *** no rule")
    slow = TestReport(command="pytest", exit_code=-9, timed_out=True)

    assert "no rule" in profile.observe("test_report", {"report": crashed})
    assert "timed out" in profile.observe("test_report", {"report": slow})
    assert profile.observe("test_report", {"report": GREEN}) == "3 passed"


def test_schema_of_a_tool_names_required_parameters() -> None:
    """What a model is shown after an invalid call is JSON Schema."""
    schema = json_schema(specs()["edit_file"])

    assert schema["required"] == ["path", "old_string", "new_string"]
