"""Textbook functions with real tests: templates (`textbook_templates.txt`) x names x identifier renamings x styles.

Hold-out rule. A *function* is a template's body after renaming and naming, before style. It is held out, never
trained on, iff `int(sha256(body).hexdigest()[:8], 16) % 8 == 0`; templates marked `!held` are held out whole.
"""

import builtins
import hashlib
import keyword
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qcn_agent.training import trial, wordlists
from qcn_agent.training.reserved import RESERVED
from qcn_agent.training.styles import Style, styled
from qcn_agent.training.trial import Expectation

TEMPLATES = Path(__file__).with_name("textbook_templates.txt")
HELD_OUT_SHARE = 8  # one function in so many
MAX_DRAWS = 40  # draws of a name and a renaming until the hold-out rule is met


@dataclass(frozen=True)
class Template:
    """One textbook program: `F` stands for its name in `bodies` and `expressions`."""

    key: str
    names: tuple[str, ...]
    docs: tuple[str, ...]
    bodies: tuple[str, ...]
    expressions: tuple[str, ...]
    held_out: bool


@dataclass(frozen=True)
class Function:
    """A template's body after renaming and naming, before style; `imports` are kept apart."""

    template: Template
    name: str
    body: str
    imports: tuple[str, ...]
    doc: str

    @property
    def held_out(self) -> bool:
        """Whether the hold-out rule keeps this function out of training."""
        return self.template.held_out or is_held_out(self.body)

    @property
    def has_affix(self) -> bool:
        """Whether its name is a made-up one, which no template has."""
        return self.name not in _all_names()


@dataclass(frozen=True)
class Module:
    """A correct file. `function` is what the tests call: lines `first_line`..`last_line` (1-based) of `text`."""

    path: str
    text: str
    function: Function
    expectations: tuple[Expectation, ...]
    first_line: int
    last_line: int


def is_held_out(body: str) -> bool:
    """The hold-out rule, on a function's body after renaming and naming."""
    return int(hashlib.sha256(body.encode()).hexdigest()[:8], 16) % HELD_OUT_SHARE == 0


@cache
def load_templates(path: Path = TEMPLATES) -> tuple[Template, ...]:
    """All templates of a file. A block is `@@ names [!held]`, `# doc` lines, bodies apart by `--`, `>> test` lines."""
    return tuple(_parse(block) for block in path.read_text(encoding="utf-8").split("@@ ")[1:])


def _parse(block: str) -> Template:
    head, *lines = block.rstrip("\n").split("\n")
    names = [word for word in head.split() if not word.startswith("!")]
    bodies = "\n".join(line for line in lines if not line.startswith(("# ", ">> "))).split("\n--\n")
    return Template(
        key=names[0],
        names=tuple(name for name in names if name not in RESERVED),
        docs=tuple(line[2:] for line in lines if line.startswith("# ")),
        bodies=tuple(body.strip("\n") for body in bodies),
        expressions=tuple(line[3:] for line in lines if line.startswith(">> ")),
        held_out="!held" in head.split(),
    )


@cache
def _all_names() -> frozenset[str]:
    return frozenset(name for template in load_templates() for name in template.names)


def trained_templates() -> tuple[Template, ...]:
    """The templates that training may draw from."""
    return tuple(template for template in load_templates() if not template.held_out)


def held_out_templates() -> tuple[Template, ...]:
    """The templates that are only for evaluation."""
    return tuple(template for template in load_templates() if template.held_out)


def rename(body: str, rng: random.Random, rate: float) -> str:
    """Give a share `rate` of the identifiers of `body` another usual name, where that can't change the meaning."""
    words = set(re.findall(r"[A-Za-z_]\w*", body))
    taken, renamed = set(words), dict[str, str]()
    for word in sorted(words):
        # attributes, methods and keyword arguments are spelled in the tests too
        if word not in wordlists.SYNONYMS or re.search(rf"(\.|def ){word}\b|\b{word}=", body) or rng.random() >= rate:
            continue
        new = rng.choice(wordlists.SYNONYMS[word])
        if new not in taken and not hasattr(builtins, new) and not keyword.iskeyword(new):
            renamed[word] = new
            taken.add(new)
    if not renamed:
        return body
    return re.sub(rf"(?<![\w\"'.])({'|'.join(renamed)})(?![\w\"'])", lambda match: renamed[match[1]], body)


def pick_name(template: Template, rng: random.Random) -> str:
    """One of the template's names, in half of the cases with an affix; never a reserved one."""
    while True:
        name = rng.choice(template.names)
        if rng.random() < 0.5 and "_" not in name[:4]:
            name = rng.choice(wordlists.AFFIXES).format(name) if name.islower() else "My" + name
        if name not in RESERVED:
            return name


def draw_function(template: Template, rng: random.Random, rate: float, *, held_out: bool | None) -> Function:
    """A function of the template on the wanted side of the hold-out rule (None: either).

    Raises LookupError when the draws run out: the template has no such function, or hardly any.
    """
    for count in range(MAX_DRAWS):
        name, doc = pick_name(template, rng), rng.choice(template.docs)
        lines = rng.choice(template.bodies).split("\n")
        num_imports = next(i for i, line in enumerate(lines) if not line.startswith(("import ", "from ")))
        plain = rename("\n".join(lines[num_imports:]), rng, rate if count < MAX_DRAWS // 2 else 0.7)
        function = Function(template, name, re.sub(r"\bF\b", name, plain), tuple(lines[:num_imports]), doc)
        if held_out is None or function.held_out == held_out:
            return function
    raise LookupError(f"{template.key}: no function with held_out={held_out}")


def draw_module(rng: random.Random, template: Template, *, held_out: bool | None, alone: bool = False) -> Module:
    """A file with a function of `template` and, unless `alone`, up to three functions of other trained templates.

    `held_out` is about all functions of the file (None: either side). Raises LookupError like draw_function.
    """
    style = Style.draw(rng)
    target = draw_function(template, rng, style.rename_rate, held_out=held_out)
    num_others = 0 if alone else rng.choice((0, 0, 0, 1, 1, 2, 3))
    others = _draw_others(rng, target, num_others, style, held_out if not template.held_out else None)
    functions = [target, *others]
    rng.shuffle(functions)
    return _assemble(rng, functions, target, style)


def _draw_others(
    rng: random.Random, target: Function, count: int, style: Style, held_out: bool | None
) -> list[Function]:
    others: dict[str, Function] = {target.name: target}
    for template in rng.sample(trained_templates(), count):
        if not set(template.names) & set(target.template.names):
            other = draw_function(template, rng, style.rename_rate, held_out=held_out)
            others.setdefault(other.name, other)
    return list(others.values())[1:]


def _assemble(rng: random.Random, functions: Sequence[Function], target: Function, style: Style) -> Module:
    head = []
    if rng.random() < 0.3:
        head.append(rng.choice(('"""{}."""', "# {}")).format(rng.choice(wordlists.MODULE_TITLES)))
    imports = list(dict.fromkeys(line for function in functions for line in function.imports))
    if imports:
        head.append("\n".join(imports))
    blocks = [styled(function.body, function.doc, style) for function in functions]
    separator = rng.choice(("\n\n\n", "\n\n\n", "\n\n\n", "\n\n"))
    index = list(functions).index(target)
    before = "".join(block + separator for block in head + blocks[:index])
    text = separator.join(head + blocks) + "\n"
    first_line = before.count("\n") + 1
    expressions = [re.sub(r"\bF\b", target.name, expression) for expression in target.template.expressions]
    expectations = _expectations(text, expressions)
    if rng.random() < 0.08:
        text += f'\n\nif __name__ == "__main__":\n    print({expressions[0]})\n'
    last_line = first_line + blocks[index].count("\n")
    return Module(_path(rng, target.name), text, target, expectations, first_line, last_line)


def _expectations(text: str, expressions: Sequence[str]) -> tuple[Expectation, ...]:
    env: dict[str, object] = {"__name__": "textbook"}
    trial.execute(text, env)
    values = [trial.evaluate(expression, env) for expression in expressions]
    wants = [trial.representation(value) for value in values]
    exact = [repr(value) == want for value, want in zip(values, wants, strict=True)]
    return tuple(map(Expectation, expressions, wants, exact))


def _path(rng: random.Random, name: str) -> str:
    stem = rng.choice([*wordlists.MODULES, *[name.lower()] * 6])
    if stem in sys.stdlib_module_names:  # such a module would shadow the real one in a real test run
        stem += "_tools"
    return rng.choice(wordlists.FOLDERS) + stem + ".py"
