"""Layouts and test files of small projects."""

import ast
import random

import pytest

from qcn_agent.training import assertions, projects, textbook
from qcn_agent.training.projects import Layout, TestStyle
from qcn_agent.training.textbook import Module


def module_of(key: str) -> Module:
    """Some module of a template."""
    template = next(template for template in textbook.load_templates() if template.key == key)
    return textbook.draw_module(random.Random(2), template, held_out=None, alone=True)


def test_a_layout_lists_each_path_once(rng: random.Random) -> None:
    """Module and tests are among the files, sorted, nothing twice."""
    for path in ("calc.py", "pkg/calc.py", "src/words.py"):
        for _ in range(30):
            layout = Layout.draw(rng, path)
            assert {path, layout.tests} <= set(layout.files)
            assert layout.files == sorted(set(layout.files))


def test_siblings_lie_beside_the_module(rng: random.Random) -> None:
    """Other modules share the module's folder; all tests are in tests/."""
    for _ in range(30):
        others = Layout.draw(rng, "pkg/calc.py").others
        assert all(path.startswith(("pkg/", "tests/test_")) or path == "conftest.py" for path in others)


def test_import_names_are_dotted() -> None:
    """A path becomes what an import statement says."""
    assert projects.import_name("pkg/calc.py") == "pkg.calc"
    assert projects.import_name("calc.py") == "calc"


@pytest.mark.parametrize(
    ("flags", "line"),
    [("is", "assert {}(4) is False"), ("==", "assert {}(4) == False"), ("bare", "assert not {}(4)")],
)
def test_flags_are_compared_in_the_given_way(flags: str, line: str) -> None:
    """True and False can be asserted in three ways."""
    module = module_of("is_prime")
    text = projects.test_text(module, TestStyle(split=False, flags=flags))
    assert line.format(module.function.name) in text


def test_split_tests_have_one_assertion_each() -> None:
    """One test an expectation, numbered from 1."""
    module = module_of("clamp")
    tree = ast.parse(projects.test_text(module, TestStyle(split=True, flags="is")))
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [test.name.rpartition("_")[2] for test in tests] == ["1", "2", "3"]
    assert [sum(isinstance(node, ast.Assert) for node in test.body) for test in tests] == [1, 1, 1]


def test_objects_are_made_before_the_assertion() -> None:
    """The templates' lambdas become a statement and an assertion, as people write it."""
    text = projects.test_text(module_of("LRUCache"), TestStyle(split=False, flags="is"))
    assert "lambda" not in text
    assert "    c = " in text


def test_rounded_values_are_compared_approximately() -> None:
    """A float that is not exact gets pytest.approx, and the import for it."""
    text = projects.test_text(module_of("circle_area"), TestStyle(split=False, flags="is"))
    assert text.startswith("import pytest\n\nfrom ")
    assert "== pytest.approx(3.141592654)" in text


def test_every_template_gets_green_tests(rng: random.Random) -> None:
    """The test file of a correct module passes, in each style."""
    for template in textbook.load_templates():
        module = textbook.draw_module(rng, template, held_out=None)
        text = projects.test_text(module, TestStyle.draw(rng))
        outcomes = assertions.run(projects.import_name(module.path), module.text, text)
        assert outcomes and all(outcome.message is None for outcome in outcomes), template.key
