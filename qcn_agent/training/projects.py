"""A small project around one textbook module: where its files lie and what its tests look like."""

import ast
import random
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from qcn_agent.training import wordlists
from qcn_agent.training.textbook import Module
from qcn_agent.training.trial import Expectation

FLAGS = ("True", "False", "None")


@dataclass(frozen=True)
class Layout:
    """Paths of a project: the module, its tests, and what else lies there (sorted)."""

    module: str
    tests: str
    others: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """All paths, sorted as a listing shows them."""
        return sorted({self.module, self.tests, *self.others})

    @classmethod
    def draw(cls, rng: random.Random, module: str) -> "Layout":
        """A project with up to five sibling modules, some of them tested."""
        folder = module.rpartition("/")[0]
        prefix = folder + "/" if folder else ""
        others = {"conftest.py"} if rng.random() < 0.5 else set()
        if folder and rng.random() < 0.5:
            others.add(prefix + "__init__.py")
        for stem in rng.sample(wordlists.SIBLINGS, rng.choice((0, 0, 1, 2, 3, 5))):
            others.add(f"{prefix}{stem}.py")
            if rng.random() < 0.5:
                others.add(test_path(stem))
        return cls(module, test_path(PurePosixPath(module).stem), tuple(sorted(others)))


def test_path(stem: str) -> str:
    """Where the tests of the module `stem` lie."""
    return f"tests/test_{stem}.py"


def import_name(path: str) -> str:
    """Dotted name under which the tests import the module at `path`, from the project's root."""
    return path.removesuffix(".py").replace("/", ".")


@dataclass(frozen=True)
class TestStyle:
    """How a test file is written: one test an assertion or one in all; how flags are compared."""

    __test__ = False
    split: bool
    flags: str  # "is", "==" or "bare"

    @classmethod
    def draw(cls, rng: random.Random) -> "TestStyle":
        """A style by how usual it is."""
        return cls(split=rng.random() < 0.35, flags=rng.choice(("is", "is", "==", "bare")))


def test_text(module: Module, style: TestStyle) -> str:
    """The test file of `module`'s function."""
    name = module.function.name
    stem = "test_" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
    blocks = [_assertion(expectation, style) for expectation in module.expectations]
    if style.split and len(blocks) > 1:
        tests = [_test(f"{stem}_{number}", block) for number, block in enumerate(blocks, 1)]
    else:
        tests = [_test(stem, [line for block in blocks for line in block])]
    needs_approx = any(not expectation.exact for expectation in module.expectations)
    head = ("import pytest\n\n" if needs_approx else "") + f"from {import_name(module.path)} import {name}\n"
    return "\n\n".join([head, *tests])


def _test(name: str, lines: list[str]) -> str:
    return f"def {name}():\n" + "".join(f"    {line}\n" for line in lines)


def _assertion(expectation: Expectation, style: TestStyle) -> list[str]:
    set_up, expression = _unrolled(expectation.expression)
    want = expectation.want if expectation.exact else f"pytest.approx({expectation.want})"
    if want not in FLAGS:
        return [*set_up, f"assert {expression} == {want}"]
    if style.flags == "bare" and want != "None":
        return [*set_up, f"assert {expression}" if want == "True" else f"assert not {expression}"]
    return [*set_up, f"assert {expression} {'==' if style.flags == '==' else 'is'} {want}"]


def _unrolled(expression: str) -> tuple[list[str], str]:
    """`(lambda a: BODY)(VALUE)`, as the templates write tests of objects, becomes `a = VALUE` and BODY."""
    call = ast.parse(expression, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Lambda):
        return [], expression
    value = ast.get_source_segment(expression, call.args[0])
    return [f"{call.func.args.args[0].arg} = {value}"], ast.get_source_segment(expression, call.func.body) or ""
