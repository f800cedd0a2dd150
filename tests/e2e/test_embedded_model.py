"""The real thing: the installed command, its own daemon process, the embedded model. Never asserts that it succeeds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from qcn_agent.models.embedded import embedded_model_path

QCN = str(Path(sys.executable).parent / "qcn-agent")
Tree = Callable[[Path], dict[str, tuple[bytes, int]]]


@pytest.fixture
def qcn(client_env: Mapping[str, str]) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs the installed command; its daemon is stopped at the end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **client_env}
        return subprocess.run([QCN, *arguments], env=env, capture_output=True, text=True, timeout=240, check=False)

    yield run
    run("stop")


@pytest.mark.parametrize("isolation", ["off", "process"])
def test_fix_from_an_empty_home(
    qcn: Callable[..., subprocess.CompletedProcess[str]],
    project: Path,
    tree: Tree,
    monkeypatch: pytest.MonkeyPatch,
    isolation: str,
) -> None:
    """Daemon started, model loaded, tests run, tools called; the tree is fixed or as found; no token is read twice."""
    monkeypatch.setenv("QCN_ENGINE_ISOLATION", isolation)
    before = tree(project)

    result = qcn("fix", "clamp in calc.py ignores its upper bound", "--workspace", str(project), "--json")
    outcome = json.loads(result.stdout)
    status = json.loads(qcn("status", "--json").stdout)

    assert result.returncode == outcome["exit_code"] in (0, 1, 3, 4)
    assert outcome["applied"] == (tree(project) != before)
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert next(event["data"]["num_failed"] for event in events if event["kind"] == "tests") == 1
    assert_nothing_is_read_twice(outcome["totals"], status["model"])
    assert status["model"]["isolation"] == isolation
    assert (status["model"]["engine_pid"] == status["pid"]) == (isolation == "off")
    assert ("engine   process" in qcn("status").stdout) == (isolation == "process")


def assert_nothing_is_read_twice(totals: dict[str, Any], model: dict[str, Any]) -> None:
    """Evaluated tokens are at most 2 % above each prompt token once and each new token once."""
    ideal = totals["num_new_prompt_tokens"] + totals["num_generated_tokens"]

    assert model["num_evaluated_tokens"] == totals["num_evaluated_tokens"]
    assert totals["num_evaluated_tokens"] <= 1.02 * ideal


def test_two_terminals_share_one_model(
    qcn: Callable[..., subprocess.CompletedProcess[str]], project: Path, tmp_path: Path
) -> None:
    """The second command finds the first one's daemon with its model loaded."""
    qcn("serve")
    first = json.loads(qcn("status", "--json").stdout)
    second = json.loads(qcn("status", "--json").stdout)

    assert first["pid"] == second["pid"]
    assert first["model"]["state"] == "loaded"
    assert first["model"]["profile"].startswith(("mini/", "qwen3_coder/"))
    assert qcn("serve", "--foreground").returncode == 6


@pytest.mark.parametrize("damage", ["missing", "truncated", "text"])
def test_model_that_cannot_be_loaded_is_exit_code_2(
    qcn: Callable[..., subprocess.CompletedProcess[str]], project: Path, tmp_path: Path, damage: str, tree: Tree
) -> None:
    """A wrong model file is named before anything else happens: a missing one starts no daemon, else that lives."""
    before = tree(project)
    path = tmp_path / "model.gguf"
    if damage == "truncated":
        path.write_bytes(embedded_model_path().read_bytes()[:-100_000])
    elif damage == "text":
        path.write_text("not a model at all, just some text")

    result = qcn("fix", "x", "--workspace", str(project), "--model", str(path))

    assert result.returncode == 2
    assert "model.gguf" in result.stderr
    assert "Traceback" not in result.stderr
    assert tree(project) == before
    assert qcn("status").returncode == (6 if damage == "missing" else 0)
