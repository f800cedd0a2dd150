"""The model that a command line names."""

import os
from pathlib import Path

import pytest

from qcn_agent.cli.model import given_model
from qcn_agent.errors import QcnError


def test_file_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon runs elsewhere; nothing given is nothing."""
    (tmp_path / "near.gguf").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert given_model("near.gguf") == given_model("~/near.gguf") == str(tmp_path / "near.gguf")
    assert given_model(None) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "empty"), (" ", "empty"), (".", "a folder"), ("pipe", "no ordinary file"), ("none.gguf", "there is no")],
)
def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    """Exit code 2, what is wrong, and what to give instead."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(QcnError, match=words) as caught:
        given_model(text)

    assert caught.value.exit_code == 2
    assert "GGUF" in caught.value.hint
