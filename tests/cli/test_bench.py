"""`bench engine`, as a user runs it."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from qcn_agent.benchmark import peer
from qcn_agent.benchmark.measure import TRACE_NAMES
from qcn_agent.cli import bench
from qcn_agent.cli.main import run
from tests.random_models import write_attention


def qcn(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = [str(Path(sys.executable).parent / "qcn-agent"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_table_json_and_a_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a given model, with the same numbers in all three; what happens meanwhile is on stderr."""
    monkeypatch.setenv("QCN_MODEL_N_CTX", "1024")
    model, figures, drawing = tmp_path / "attention.gguf", tmp_path / "b.json", tmp_path / "b.svg"
    write_attention(model)
    result = qcn("bench", "engine", "--quick", "--model", str(model), "--json", str(figures), "--plot", str(drawing))
    assert result.returncode == 0, result.stderr
    assert "qcn-agent: heads" in result.stderr
    found = json.loads(figures.read_text())
    assert (found["file"], found["n_ctx"], found["seed"], found["shrink"]) == ("attention.gguf", 1024, 7, 8)
    (ours,) = found["sides"].values()
    texts = {text.text for text in ElementTree.parse(drawing).iter("{http://www.w3.org/2000/svg}text")}
    for name in TRACE_NAMES:
        assert f"{name}: evaluated ÷ ideal" in result.stdout
        assert f"{ours['scores'][name]['ratio']:.3f}" in result.stdout
        assert f"{ours['scores'][name]['ratio']:.2f}" in texts
    assert "decode, tokens/s" in result.stdout
    assert found["model_bytes"] > 0


def test_a_missing_peer_is_said_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to install."""
    monkeypatch.setattr(peer, "is_installed", lambda python: False)
    monkeypatch.setattr(bench, "run", lambda *_, **__: pytest.fail("it was run"))
    assert run(["bench", "engine", "--peer"]) == 2
    assert "pip install xllamacpp" in capsys.readouterr().err


@pytest.mark.skipif(not peer.is_installed(sys.executable), reason="needs xllamacpp")
def test_a_peer_is_measured_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three columns; each side has all scores and times."""
    monkeypatch.setenv("QCN_MODEL_N_CTX", "1024")
    figures = tmp_path / "b.json"
    result = qcn("bench", "engine", "--quick", "--peer", "--json", str(figures))
    assert result.returncode == 0, result.stderr
    sides = json.loads(figures.read_text())["sides"]
    assert list(sides) == ["qcn-agent", "llama-server", "tuned"]
    assert all(set(side["scores"]) == set(TRACE_NAMES) and side["times"]["cold_ms"] > 0 for side in sides.values())
