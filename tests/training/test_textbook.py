"""Textbook modules: right, renamed, styled, and on one side of the hold-out rule."""

import ast
import hashlib
import random
import sys
from pathlib import Path

import pytest

from qcn_agent.training import textbook, trial
from qcn_agent.training.reserved import RESERVED
from qcn_agent.training.textbook import Function, Template


def template_of(key: str) -> Template:
    """The template with this key."""
    return next(template for template in textbook.load_templates() if template.key == key)


def test_all_templates_are_there() -> None:
    """188 templates, 14 of them only for evaluation, all with names, texts and tests."""
    templates = textbook.load_templates()
    assert (len(templates), len(textbook.trained_templates()), len(textbook.held_out_templates())) == (188, 174, 14)
    assert all(t.names and t.docs and t.bodies and t.expressions for t in templates)
    assert len({template.key for template in templates}) == 188


def test_no_name_is_reserved(rng: random.Random) -> None:
    """No template and no affix gives a function the name of a benchmark program."""
    for template in textbook.load_templates():
        assert not set(template.names) & RESERVED
        assert not {textbook.pick_name(template, rng) for _ in range(20)} & RESERVED


def test_half_of_the_names_have_an_affix(rng: random.Random) -> None:
    """Functions get made-up names as often as usual ones."""
    template = template_of("clamp")
    names = [textbook.pick_name(template, rng) for _ in range(400)]
    assert 0.35 < sum(name not in template.names for name in names) / 400 < 0.65


def test_modules_pass_their_own_tests(rng: random.Random) -> None:
    """For each template a drawn file meets its expectations, in whatever style."""
    for template in textbook.load_templates():
        module = textbook.draw_module(rng, template, held_out=None)
        assert trial.failures(module.text, module.expectations) == [], template.key


def test_expectations_evaluate_to_what_the_tests_will_compare(rng: random.Random) -> None:
    """Each wanted value is Python text; an exact one equals the function's value."""
    for template in textbook.load_templates():
        module = textbook.draw_module(rng, template, held_out=None)
        env: dict[str, object] = {}
        trial.execute(module.text, env)
        for expectation in module.expectations:
            want, got = ast.literal_eval(expectation.want), trial.evaluate(expectation.expression, env)
            assert got == (want if expectation.exact else pytest.approx(want))


def test_the_target_lies_where_the_module_says(rng: random.Random) -> None:
    """first_line..last_line hold the whole function and nothing else."""
    for template in textbook.trained_templates()[::5]:
        module = textbook.draw_module(rng, template, held_out=None)
        lines = module.text.split("\n")[module.first_line - 1 : module.last_line]
        (node,) = ast.parse("\n".join(lines)).body
        assert getattr(node, "name", "") == module.function.name


def test_the_rule_is_the_hash_of_the_body() -> None:
    """The rule is pinned: weights that exist were trained under it."""
    body = "def f():\n    return 1"
    assert textbook.is_held_out(body) == (int(hashlib.sha256(body.encode()).hexdigest()[:8], 16) % 8 == 0)
    held = [i for i in range(80) if textbook.is_held_out(f"def f():\n    return {i}")]
    assert held == [7, 19, 25, 26, 32, 57, 61, 70, 73]


def test_training_never_draws_a_held_out_function(rng: random.Random) -> None:
    """Over 2,000 draws from the trained templates, neither target nor neighbour is held out."""
    seen: list[Function] = []
    for _ in range(2000):
        template = rng.choice(textbook.trained_templates())
        seen.append(textbook.draw_function(template, rng, 0.3, held_out=False))
    assert not any(function.held_out for function in seen)
    assert len({function.body for function in seen}) > 1200


def test_evaluation_only_draws_held_out_functions(rng: random.Random) -> None:
    """With held_out the same templates give the other side of the rule."""
    for template in textbook.trained_templates()[::6]:
        try:
            assert textbook.draw_function(template, rng, 0.7, held_out=True).held_out
        except LookupError:  # some templates have no such function in 40 draws
            continue


def test_neighbours_obey_the_rule_too(rng: random.Random) -> None:
    """No function of a training file, target or not, is held out."""
    for template in textbook.trained_templates()[::3]:
        module = textbook.draw_module(rng, template, held_out=False)
        assert not module.function.held_out


def test_a_held_out_template_is_held_out_whole(rng: random.Random) -> None:
    """Training can't get a function from it."""
    template = textbook.held_out_templates()[0]
    with pytest.raises(LookupError):
        textbook.draw_function(template, rng, 0.3, held_out=False)


def test_affixed_names_are_recognised() -> None:
    """has_affix is about names that no template has."""
    template = template_of("clamp")
    assert Function(template, "my_clamp", "", (), "").has_affix
    assert not Function(template, "clamp", "", (), "").has_affix


def test_renaming_keeps_attributes_methods_and_strings(rng: random.Random) -> None:
    """Only plain variables get another name."""
    body = 'def f(items):\n    items.sort()\n    return result.items, "items"'
    assert textbook.rename(body, rng, 1.0).count("items") == body.count("items")


def test_renaming_never_joins_two_variables(rng: random.Random) -> None:
    """A new name is not one that the body has already, and not a builtin."""
    body = "def F(items, values, data, seq, lst, arr, elements, xs, n):\n    return n"
    for _ in range(50):
        renamed = textbook.rename(body, rng, 1.0)
        parameters = renamed[renamed.index("(") + 1 : renamed.index(")")].split(", ")
        assert len(set(parameters)) == 9


def test_a_rate_of_zero_renames_nothing(rng: random.Random) -> None:
    """Then the template's own words stay."""
    for template in textbook.trained_templates()[:20]:
        assert textbook.rename(template.bodies[0], rng, 0.0) == template.bodies[0]


def test_paths_do_not_shadow_the_standard_library(rng: random.Random) -> None:
    """A module at the project's root never has a name that Python itself imports."""
    for template in textbook.load_templates():
        path = Path(textbook.draw_module(rng, template, held_out=None, alone=True).path)
        assert path.stem not in sys.stdlib_module_names


def test_equal_seeds_give_equal_modules() -> None:
    """A module is a function of its template and the random numbers."""
    template = template_of("binary_search")
    first, second = (textbook.draw_module(random.Random("x"), template, held_out=False) for _ in range(2))
    assert first == second


def test_templates_are_parsed_block_by_block(tmp_path: Path) -> None:
    """Names, marks, descriptions, several bodies and tests come apart."""
    path = tmp_path / "templates.txt"
    path.write_text(
        "@@ one uno gcd !held\n# Do one.\n# Do uno.\ndef F():\n    return 1\n--\nF = int\n>> F()\n>> F() + 1\n"
    )
    (template,) = textbook.load_templates(path)
    assert template == Template(
        "one", ("one", "uno"), ("Do one.", "Do uno."), ("def F():\n    return 1", "F = int"), ("F()", "F() + 1"), True
    )
