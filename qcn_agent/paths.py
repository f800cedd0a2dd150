"""Where this program keeps things outside the user's projects (platformdirs; overridable for tests and unusual homes).

QCN_AGENT_HOME, when set, holds `config/`, `state/` and `cache/` in one place.
"""

import hashlib
import os
from pathlib import Path

import platformdirs

from qcn_agent.errors import UsageError

APP = "qcn-agent"


def _place(kind: str, default: Path) -> Path:
    home = os.environ.get("QCN_AGENT_HOME")
    return Path(home) / kind if home else default


def config_file() -> Path:
    """The user's settings, `config.toml`."""
    return _place("config", platformdirs.user_config_path(APP)) / "config.toml"


def cache_dir() -> Path:
    """Things that can be made again: indexes, self-test results."""
    return _place("cache", platformdirs.user_cache_path(APP))


def kv_cache_dir() -> Path:
    """What models have read, as files; it holds the user's code. A folder for each model and layout, 0700."""
    return cache_dir() / "kv"


def token_cache_dir() -> Path:
    """Token ids of what was packed, a file for each project and vocabulary, named after its `project_tag`."""
    return cache_dir() / "tokens"


def project_tag(root: Path) -> str:
    """A short name for the project at `root`, the same through any link to it: 12 of 0-9 and a-f."""
    return hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=6).hexdigest()


def state_dir() -> Path:
    """Socket, token, lock, logs and undo journals. Created 0700: nobody else may read or replace them.

    Raises UsageError when that is not possible.
    """
    path = _place("state", platformdirs.user_state_path(APP))
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
    except OSError as error:
        hint = "set QCN_AGENT_HOME to a folder of yours"
        raise UsageError(f"can't keep state in {path}: {error.strerror}", hint=hint) from error
    return path
