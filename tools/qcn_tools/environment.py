"""Which command runs the tests: the user's own choice, else pytest in the project's own environment.

Never the interpreter that this program itself runs in, unless it is what the client's PATH names.
"""

import itertools
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

_ALLOWED = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TERM",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "CONDA_DEFAULT_ENV",
        "PYTHONPATH",
        "PYTHONHASHSEED",
        "LD_LIBRARY_PATH",
    }
)
ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")  # one of them is in every environment's prefix
_SEPARATORS = {"PATH": ":", "LD_LIBRARY_PATH": "[:;]"}  # the loader takes both
_SHELL_WORD = re.compile(r"[|&;<>()$`*?\n]|^\s*\w+=")
_PYTHONS = ("python", "python3")
_MAX_PATH_PYTHONS = 8
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class TestCommand:
    """How to run the tests. `reason` says where the choice came from.

    A command of kind `pytest` accepts pytest's options and paths behind its own arguments; of a `custom` one only
    the exit code is understood. `warning`: why the results may not be those of the project's own environment.
    """

    __test__ = False

    argv: tuple[str, ...]
    env: Mapping[str, str]
    kind: Literal["pytest", "custom"]
    reason: str
    warning: str = ""


@dataclass(frozen=True)
class TestsUnavailable:
    """No way to run tests was found. `hint` is one line that says what the user can do."""

    __test__ = False

    reason: str
    hint: str


class Prober(Protocol):
    """Runs something that a repository may have brought along, so it must confine it."""

    async def succeeds(self, argv: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> bool:
        """Whether `argv` exits with 0 within a few seconds. Starts in `cwd`, writes nothing, reaches no network."""


async def find_test_command(
    root: Path, client_env: Mapping[str, str], prober: Prober, *, tests: str = "", config: str = ""
) -> TestCommand | TestsUnavailable:
    """Choose the test command of the workspace `root` for a client with `client_env`.

    The first of: `tests` (the command line's), `config` (the setting's), and `-m pytest` in the first interpreter
    that can import pytest of: `.venv` and `venv` in the workspace, VIRTUAL_ENV, CONDA_PREFIX, PATH.
    """
    env = allowed_env(client_env)
    for given, source in ((tests, "--tests"), (config, "the setting fix.tests")):
        if given.strip():
            return _given_command(given, env, source)
    tried: list[str] = []
    passed_over: list[tuple[Path, str]] = []
    for python, prefix, source in _interpreters(root, env):
        own_env = _activated(env, prefix)
        works = os.access(python, os.X_OK)
        if works and await prober.succeeds((str(python), "-c", "import pytest"), root, own_env):
            warning = _passed_over(passed_over[0], python) if passed_over else ""
            return TestCommand((str(python), "-m", "pytest"), own_env, "pytest", f"pytest from {source}", warning)
        tried.append(source)
        if prefix is not None and (prefix, source) in _prefixes(root, env):
            passed_over.append((prefix, source))
    places = ", ".join(tried) or "no Python interpreter found"
    install = _install_line(passed_over[0][0]) if passed_over else "install pytest into the project's environment"
    return TestsUnavailable(
        f"pytest can't be imported (tried: {places})",
        f"{install}; or activate an environment that has it, or name a command with --tests",
    )


def _passed_over(environment: tuple[Path, str], python: Path) -> str:
    """The warning that not the environment of the project, but `python` runs the tests."""
    prefix, source = environment
    why = "has no working Python" if _is_broken(prefix) else "can't import pytest"
    return (
        f"{source} {why}, so the tests run with {python}, which may lack what the project needs; "
        f"to use {source}: {_install_line(prefix)}"
    )


def _install_line(prefix: Path) -> str:
    """The command line that brings pytest into the environment at `prefix`."""
    where, python = shlex.quote(str(prefix)), shlex.quote(str(prefix / "bin" / "python"))
    if (prefix / "conda-meta").is_dir():
        return f"conda install --prefix {where} pytest"
    if _is_broken(prefix):
        return f"python3 -m venv --clear {where} && {python} -m pip install pytest"
    if any(prefix.glob("lib*/python*/site-packages/pip")):
        return f"{python} -m pip install pytest"
    if shutil.which("uv"):
        return f"uv pip install --python {python} pytest"
    return f"{python} -m ensurepip && {python} -m pip install pytest"


def _is_broken(prefix: Path) -> bool:
    """Whether an environment is there whose interpreter is not: what an upgrade of Python leaves."""
    is_environment = any((prefix / mark).exists() for mark in ENVIRONMENT_MARKS)
    return is_environment and not os.access(prefix / "bin" / "python", os.X_OK)


def allowed_env(client_env: Mapping[str, str]) -> dict[str, str]:
    """The part of a client's environment that commands may see: an allow-list, so no keys or tokens.

    Search paths keep their absolute entries only; the others would mean directories of the repository.
    """
    kept = {name: value for name, value in client_env.items() if name in _ALLOWED or name.startswith("LC_")}
    kept = {name: value for name, value in (kept | search_paths(kept)).items() if value}
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0"}
    return {"PATH": _DEFAULT_PATH} | kept | quiet


def search_paths(env: Mapping[str, str], *, outside: Path | None = None) -> dict[str, str]:
    """PATH and LD_LIBRARY_PATH of `env`, as far as given, with only their absolute entries: maybe none.

    Entries in the directory `outside` are left out too.
    """
    found = {}
    for name, separator in _SEPARATORS.items():
        if name in env:
            entries = [entry for entry in re.split(separator, env[name]) if entry.startswith("/")]
            found[name] = ":".join(entry for entry in entries if outside is None or not _is_below(entry, outside))
    return found


def _is_below(path: str, directory: Path) -> bool:
    return Path(path).resolve().is_relative_to(directory) or Path(os.path.normpath(path)).is_relative_to(directory)


def is_pytest(argv: tuple[str, ...]) -> bool:
    """Whether a command line starts pytest directly, so that pytest's options can be added behind it."""
    if not argv:
        return False
    program = Path(argv[0]).name
    if program in ("pytest", "py.test"):
        return True
    return re.fullmatch(r"python[\d.]*", program) is not None and ("-m", "pytest") in itertools.pairwise(argv)


def _given_command(text: str, env: dict[str, str], source: str) -> TestCommand:
    try:
        argv = tuple(shlex.split(text))
    except ValueError:  # an open quote: let the shell say so
        argv = ()
    if not argv or _SHELL_WORD.search(text):
        return TestCommand(("/bin/sh", "-c", text), env, "custom", f"given by {source}")
    return TestCommand(argv, env, "pytest" if is_pytest(argv) else "custom", f"given by {source}")


def _interpreters(root: Path, env: Mapping[str, str]) -> Iterator[tuple[Path, Path | None, str]]:
    """(interpreter, prefix of its environment if it has one, what to call it), best first, without repeats.

    Also those of environments whose interpreter is broken.
    """
    seen: set[Path] = set()
    for prefix, source in _prefixes(root, env):
        python = prefix / "bin" / "python"
        if (os.access(python, os.X_OK) or _is_broken(prefix)) and python not in seen:
            seen.add(python)
            yield python, prefix, source
    for python in _path_pythons(env["PATH"]):
        if python not in seen:
            seen.add(python)
            yield python, _prefix(python), f"{python} (PATH)"


def _prefixes(root: Path, env: Mapping[str, str]) -> list[tuple[Path, str]]:
    """(prefix, what to call it) of the environments that come before PATH, best first; maybe not there."""
    prefixes = [(root / name, f"{name} in the workspace") for name in (".venv", "venv")]
    prefixes += [(Path(env[name]), name) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if env.get(name)]
    return [(prefix, source) for prefix, source in prefixes if prefix.is_absolute()]


def _prefix(python: Path) -> Path | None:
    prefix = python.parent.parent
    return prefix if any((prefix / mark).exists() for mark in ENVIRONMENT_MARKS) else None


def _path_pythons(path: str) -> list[Path]:
    found: list[Path] = []
    for directory in dict.fromkeys(path.split(os.pathsep)):
        names = [shutil.which(name, path=directory) for name in _PYTHONS]
        by_target = {Path(name).resolve(): Path(name) for name in reversed(names) if name}
        found += reversed(by_target.values())
    return found[:_MAX_PATH_PYTHONS]


def _activated(env: Mapping[str, str], prefix: Path | None) -> dict[str, str]:
    """`env` as activating `prefix` would leave it."""
    if prefix is None:
        return dict(env)
    variable = "CONDA_PREFIX" if (prefix / "conda-meta").is_dir() else "VIRTUAL_ENV"
    return dict(env) | {variable: str(prefix), "PATH": os.pathsep.join((str(prefix / "bin"), env["PATH"]))}
