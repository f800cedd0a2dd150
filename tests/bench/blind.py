"""The opponent: a search that tries single-line changes in random order and knows nothing but the tests."""

import ast
import random
from pathlib import PurePosixPath

from qcn_agent.training import assertions, mutate, projects
from qcn_agent.training.bench_set import BenchItem


def candidates(text: str) -> list[str]:
    """All different modules that one single-line mutation in a function of `text` leads to, and that parse."""
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    changed = (mutation.apply(text) for node in functions for mutation in mutate.mutations(text, node))
    return [module for module in dict.fromkeys(changed) if module != text and mutate.parses(module)]


def is_green(item: BenchItem, text: str) -> bool:
    """Whether the tests of the bug's module pass with `text` as that module. The project's other tests don't see it."""
    tests = item.files[projects.test_path(PurePosixPath(item.path).stem)]
    try:
        outcomes = assertions.run(projects.import_name(item.path), text, tests)
    except Exception:  # a mutant may raise anything while it is imported
        return False
    return all(outcome.message is None for outcome in outcomes)


MAX_RUNS = 24  # more than any of our runs uses; mutants that loop make the whole search slow


def search(item: BenchItem, seed: int, max_runs: int = MAX_RUNS) -> int | None:
    """How many test runs the search needs to get to green; None when it is not there after `max_runs`.

    It is generous to the search: what doesn't parse and what was tried before costs no test run.
    """
    order = candidates(item.files[item.path])
    random.Random(f"blind-{seed}-{item.id}").shuffle(order)
    return next((number for number, text in enumerate(order[:max_runs], 1) if is_green(item, text)), None)
