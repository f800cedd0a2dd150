"""What pytest would say about a test file, without starting pytest: its own assertion rewriting, in this process."""

import ast
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from _pytest.assertion import util
from _pytest.assertion.rewrite import rewrite_asserts
from _pytest.config import _prepareconfig

from qcn_agent.training import trial


@dataclass(frozen=True)
class Outcome:
    """One test function's result: `message` is pytest's short text of the failure, None when it passed."""

    name: str
    message: str | None


class TimedOutError(Exception):
    """A test does not end. A real run would be stopped as a whole."""


def run(module_name: str, module_text: str, test_text: str) -> list[Outcome]:
    """Run the functions `test_*` of `test_text`, which imports `module_name` (dotted). Trusted code only.

    Raises TimedOutError when one runs out of steps.
    """
    tree = ast.parse(test_text)
    rewrite_asserts(tree, test_text.encode())
    env: dict[str, Any] = {"__name__": "textbook_test"}
    with _importable(module_name, module_text), _comparisons_explained():
        trial.execute(compile(tree, "<test>", "exec"), env)
        return [Outcome(name, _message(test)) for name, test in env.items() if name.startswith("test_")]


def _message(test: Any) -> str | None:
    try:
        with trial.limited():
            test()
    except trial.OutOfStepsError as error:
        raise TimedOutError from error
    except Exception as error:
        return pytest.ExceptionInfo.from_exception(error).exconly(tryshort=True)
    return None


@contextmanager
def _importable(name: str, text: str) -> Iterator[None]:
    """Make `text` importable as `name`, parents included, and put sys.modules back afterwards."""
    parts = name.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    saved = {key: sys.modules.get(key) for key in names}
    for key in names:
        sys.modules[key] = ModuleType(key)
        sys.modules[key].__path__ = []
    try:
        trial.execute(text, vars(sys.modules[name]))
        yield
    finally:
        for key, old in saved.items():
            sys.modules.pop(key)
            if old is not None:
                sys.modules[key] = old


@cache
def _config() -> pytest.Config:
    options = ["--assert=plain", "--disable-plugin-autoload", "-c", os.devnull, "--rootdir=/", "-p", "no:terminal"]
    config: pytest.Config = _prepareconfig(options)
    return config


def _explain(op: str, left: object, right: object) -> str | None:
    """What pytest's own runtest hook does between the rewritten assert and the comparison plug-ins."""
    config = _config()
    for lines in config.hook.pytest_assertrepr_compare(config=config, op=op, left=left, right=right):
        if lines:
            return "\n~".join(line.replace("\n", "\\n") for line in lines).replace("%", "%%")
    return None


@contextmanager
def _comparisons_explained() -> Iterator[None]:
    saved = util._reprcompare
    util._reprcompare = _explain
    try:
        yield
    finally:
        util._reprcompare = saved
