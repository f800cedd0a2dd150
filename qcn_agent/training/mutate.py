"""Small single-line bugs at exact source positions, and the shortest edit that repairs one."""

import ast
import random
from collections.abc import Sequence

from qcn_agent.training.mutation_kinds import KINDS
from qcn_agent.training.source_view import FunctionSource, Mutation

WEIGHTS = {  # how often a kind of bug is chosen where it is possible
    "compare": 5,
    "arith": 4,
    "offby1": 5,
    "aug": 4,
    "bool": 4,
    "negate": 4,
    "const": 3,
    "string": 1,
    "variable": 1.2,
    "attribute": 1,
    "call": 4,
    "index": 3,
    "slice": 3,
    "range": 4,
    "unwrap": 3,
    "swap": 1.5,
    "return": 2,
    "flow": 2,
}


def mutations(text: str, node: ast.FunctionDef) -> list[Mutation]:
    """All bugs that can be put into `node`, a function of the module `text`; each stays inside one ASCII line."""
    source = FunctionSource(text, node)
    return [found for inner in source.nodes for kind in KINDS.get(type(inner), ()) for found in kind(inner, source)]


def target_functions(text: str, name: str) -> list[ast.FunctionDef]:
    """The top-level function `name` of the module `text`, or the methods of the class of that name."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return [node]
        if isinstance(node, ast.ClassDef) and node.name == name:
            return [method for method in node.body if isinstance(method, ast.FunctionDef)]
    raise LookupError(f"no function {name}")


def target_mutations(text: str, name: str) -> list[Mutation]:
    """All bugs of the function or class `name` of the module `text`."""
    return [found for node in target_functions(text, name) for found in mutations(text, node)]


def choose(found: Sequence[Mutation], rng: random.Random) -> Mutation:
    """Draw a kind by weight, then one of its mutations."""
    kinds: dict[str, list[Mutation]] = {}
    for mutation in found:
        kinds.setdefault(mutation.kind, []).append(mutation)
    names = sorted(kinds)
    kind = rng.choices(names, [WEIGHTS[name] for name in names])[0]
    return rng.choice(kinds[kind])


def parses(text: str) -> bool:
    """Whether `text` is a Python module."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def edit_pair(bad: str, good: str) -> tuple[str, str]:
    """The shortest (old, new) of whole lines that turns `bad` into `good`, where `old` occurs once in `bad`."""
    before, after = bad.split("\n"), good.split("\n")
    head = _common_prefix(before, after)
    tail = _common_prefix(before[head:][::-1], after[head:][::-1])
    start, end, shift = head, len(before) - tail, len(after) - len(before)
    while start > 0 or end < len(before):
        old = "\n".join(before[start:end])
        if old.strip() and bad.count(old) == 1:
            return old, "\n".join(after[start : end + shift])
        if start > 0:
            start -= 1
        else:
            end += 1
    return bad, good


def _common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    for count, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return count
    return min(len(a), len(b))
