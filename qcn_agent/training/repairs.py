"""Repair tasks: a project with one bug, the issue about it, its test reports, and the edit that repairs it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from qcn_agent.training import assertions, issues, mutate, projects, textbook, trial
from qcn_agent.training.excerpts import Excerpts
from qcn_agent.training.source_view import Mutation
from qcn_agent.training.textbook import Module, Template
from qcn_agent.training.trial import Failure
from qcn_tools.report import TestFailure, TestReport, condense

NUM_DRAWS = 20
COMMAND = "python -m pytest"
OTHER_FILES = ("README.md", "pyproject.toml", ".gitignore", "LICENSE")


@dataclass(frozen=True)
class TextbookBug:
    """A bug in a textbook module that its tests catch."""

    module: Module
    mutation: Mutation
    bad: str
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class RepairTask:
    """What one repair conversation is about. `old` occurs once in `bad`; replaced by `new` it is repaired."""

    path: str
    name: str
    bad: str
    old: str
    new: str
    issue: str
    files: tuple[str, ...]
    before: TestReport
    after: TestReport


def draw_bug(rng: random.Random, template: Template, *, held_out: bool | None) -> TextbookBug | None:
    """One module and one bug; None when there is none, or the tests miss it. Raises LookupError: see draw_function."""
    module = textbook.draw_module(rng, template, held_out=held_out)
    found = mutate.target_mutations(module.text, module.function.name)
    if not found:
        return None
    mutation = mutate.choose(found, rng)
    bad = mutation.apply(module.text)
    failures = trial.failures(bad, module.expectations) if mutate.parses(bad) else []
    return TextbookBug(module, mutation, bad, tuple(failures)) if failures else None


def textbook_task(rng: random.Random, templates: Sequence[Template], *, held_out: bool | None) -> RepairTask:
    """A repair of a textbook function. Raises LookupError when no draw gives one."""
    for _ in range(NUM_DRAWS):
        try:
            bug = draw_bug(rng, rng.choice(templates), held_out=held_out)
        except LookupError:
            continue
        if bug is not None:
            return _textbook_task(rng, bug)
    raise LookupError("no bug that the tests catch")


def _textbook_task(rng: random.Random, bug: TextbookBug) -> RepairTask:
    module, function = bug.module, bug.module.function
    layout = projects.Layout.draw(rng, module.path)
    tests = projects.test_text(module, projects.TestStyle.draw(rng))
    num_others = sum(rng.randint(1, 4) for path in layout.others if path.startswith("tests/"))
    old, new = mutate.edit_pair(bug.bad, module.text)
    return RepairTask(
        path=module.path,
        name=function.name,
        bad=bug.bad,
        old=old,
        new=new,
        issue=issues.write(rng, path=module.path, name=function.name, doc=function.doc, failures=bug.failures),
        files=_listing(rng, layout),
        before=report_before(module.path, bug.bad, layout.tests, tests, num_others),
        after=green_report(tests.count("\ndef test_") + num_others),
    )


def _listing(rng: random.Random, layout: projects.Layout) -> tuple[str, ...]:
    """The project's files, at times with those that are no code."""
    more = rng.sample(OTHER_FILES, rng.randint(1, len(OTHER_FILES))) if rng.random() < 0.3 else []
    return tuple(sorted([*layout.files, *more]))


def report_before(path: str, bad: str, test_path: str, tests: str, num_other_tests: int) -> TestReport:
    """What the test run says about the buggy module `bad`, with so many other tests green."""
    try:
        outcomes = assertions.run(projects.import_name(path), bad, tests)
    except assertions.TimedOutError:
        return TestReport(COMMAND, exit_code=124, timed_out=True)
    red = [(outcome.name, outcome.message) for outcome in outcomes if outcome.message is not None]
    failures = tuple(TestFailure(f"{test_path}::{name}", condense(message)) for name, message in red)
    num_passed = len(outcomes) - len(failures) + num_other_tests
    return TestReport(COMMAND, exit_code=1, num_passed=num_passed, num_failed=len(failures), failures=failures)


def green_report(num_passed: int) -> TestReport:
    """What the test run says about the repaired project."""
    return TestReport(COMMAND, exit_code=0, num_passed=num_passed)


def corpus_task(rng: random.Random, excerpts: Excerpts) -> RepairTask:
    """A repair of a real function, whose test report only says that something is wrong. Raises LookupError."""
    for _ in range(NUM_DRAWS):
        excerpt = excerpts.draw(rng)
        found = mutate.mutations(excerpt.text, excerpt.node)
        bad = mutate.choose(found, rng).apply(excerpt.text) if len(found) > 1 else ""
        if not bad or not mutate.parses(bad):
            continue
        layout = projects.Layout.draw(rng, excerpt.path)
        test_id = f"{projects.test_path(PurePosixPath(excerpt.path).stem)}::test_{excerpt.name.strip('_')}"
        failure = TestFailure(test_id, "AssertionError")
        old, new = mutate.edit_pair(bad, excerpt.text)
        num_others = rng.randint(0, 9)
        return RepairTask(
            path=excerpt.path,
            name=excerpt.name,
            bad=bad,
            old=old,
            new=new,
            issue=issues.write(rng, path=excerpt.path, name=excerpt.name, doc=excerpt.doc),
            files=_listing(rng, layout),
            before=TestReport(COMMAND, exit_code=1, num_passed=num_others, num_failed=1, failures=(failure,)),
            after=green_report(num_others + 1),
        )
    raise LookupError("no bug")
