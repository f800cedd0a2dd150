"""Where things are kept."""

from pathlib import Path

import pytest

from qcn_agent import paths


def test_one_variable_moves_everything(home: Path) -> None:
    """QCN_AGENT_HOME holds configuration, state and cache."""
    assert paths.config_file() == home / "config" / "config.toml"
    assert paths.cache_dir() == home / "cache"
    assert paths.state_dir() == home / "state"


def test_state_is_private(home: Path) -> None:
    """Even if someone opened it before."""
    (home / "state").mkdir(parents=True, mode=0o777)

    assert paths.state_dir().stat().st_mode & 0o777 == 0o700


def test_without_the_variable_the_platform_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG directories are used on Linux."""
    monkeypatch.delenv("QCN_AGENT_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))

    assert "qcn-agent" in str(paths.config_file())
    assert "qcn-agent" in str(paths.cache_dir())


def test_a_project_has_one_tag_through_any_link(tmp_path: Path) -> None:
    """And two projects have two; it fits into a file name, and the project need not exist any more."""
    (tmp_path / "link").symlink_to(tmp_path / "project")
    tag = paths.project_tag(tmp_path / "project")
    assert paths.project_tag(tmp_path / "link") == tag != paths.project_tag(tmp_path)
    assert tag.isalnum()
    assert len(tag) == 12
