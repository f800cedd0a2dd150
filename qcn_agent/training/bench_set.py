"""Chooses the fixed evaluation set: whole projects with one bug each, on functions that training never sees.

    python -m qcn_agent.training.bench_set --out tests/bench/textbook_bugs.jsonl

Each line is a BenchItem. The order is by hash, so any prefix is a fair sample.
"""

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from qcn_agent.training import assertions, issues, projects, repairs, textbook

NUM_KNOWN, MAX_PER_KNOWN = 240, 2
NUM_UNKNOWN, MAX_PER_UNKNOWN = 84, 6
NUM_DRAWS = 8  # candidates of a template for one that is chosen
VERIFY_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class BenchItem:
    """One bug. `set` is "known" (held-out function of a trained template) or "unknown" (held-out template).

    `files` maps relative paths to the text of the whole buggy project; line `line` (1-based) of the file `path` is
    `bad_line` there and was `good_line`.
    """

    id: str
    set: str
    template: str
    kind: str
    path: str
    name: str
    files: Mapping[str, str]
    issue: str
    line: int
    bad_line: str
    good_line: str

    def good_files(self) -> dict[str, str]:
        """The project without the bug."""
        lines = self.files[self.path].split("\n")
        lines[self.line - 1] = self.good_line
        return {**self.files, self.path: "\n".join(lines)}


def draw(rng: random.Random, template: textbook.Template) -> BenchItem | None:
    """A candidate whose tests catch the bug and end, or None."""
    try:
        bug = repairs.draw_bug(rng, template, held_out=True)
    except LookupError:
        return None
    if bug is None or not bug.module.function.has_affix:
        return None
    module, bad, function = bug.module, bug.bad, bug.module.function
    tests = projects.test_text(module, projects.TestStyle.draw(rng))
    if not _ends(module.path, bad, tests):
        return None
    files = _files(rng, module, tests) | {module.path: bad}
    line = module.text.count("\n", 0, bug.mutation.start)
    return BenchItem(
        id=hashlib.sha256((module.path + tests + bad).encode()).hexdigest()[:12],
        set="unknown" if template.held_out else "known",
        template=template.key,
        kind=bug.mutation.kind,
        path=module.path,
        name=function.name,
        files=dict(sorted(files.items())),
        issue=issues.write(rng, path=module.path, name=function.name, doc=function.doc, failures=bug.failures),
        line=line + 1,
        bad_line=bad.split("\n")[line],
        good_line=module.text.split("\n")[line],
    )


def _ends(path: str, text: str, tests: str) -> bool:
    try:
        outcomes = assertions.run(projects.import_name(path), text, tests)
    except assertions.TimedOutError:
        return False
    return any(outcome.message is not None for outcome in outcomes)


def _files(rng: random.Random, module: textbook.Module, tests: str) -> dict[str, str]:
    """All files of a project, the module's siblings filled with other functions and their tests."""
    layout = projects.Layout.draw(rng, module.path)
    files = {"conftest.py": "", module.path: module.text, layout.tests: tests}
    for path in layout.others:
        if path.endswith("__init__.py") or path == "conftest.py":
            files[path] = ""
        elif not path.startswith("tests/"):
            sibling = _sibling(rng, path, module.function.template)
            files[path] = sibling.text
            test_path = projects.test_path(Path(path).stem)
            if test_path in layout.others:
                files[test_path] = projects.test_text(sibling, projects.TestStyle.draw(rng))
    return files


def _sibling(rng: random.Random, path: str, other_than: textbook.Template) -> textbook.Module:
    while True:
        template = rng.choice(textbook.trained_templates())
        if template is not other_than:
            module = textbook.draw_module(rng, template, held_out=None, alone=True)
            return dataclasses.replace(module, path=path)


def candidates(template: textbook.Template, count: int) -> list[BenchItem]:
    """Up to `count` different bugs of one template, by hash."""
    draws = (draw(random.Random(f"bench-{template.key}-{i}"), template) for i in range(count))
    unique = {(item.good_line.strip(), item.bad_line.strip()): item for item in draws if item is not None}
    return sorted(unique.values(), key=lambda item: item.id)


def choose(templates: Sequence[textbook.Template], count: int, per_template: int) -> Iterator[BenchItem]:
    """`count` verified bugs, at most `per_template` of each template, by hash."""
    pool = [
        item for template in templates for item in candidates(template, NUM_DRAWS * per_template)[: per_template + 1]
    ]
    chosen: dict[str, int] = {}
    for item in sorted(pool, key=lambda item: item.id):
        num_chosen = chosen.get(item.template, 0)
        if sum(chosen.values()) < count and num_chosen < per_template and verify(item):
            chosen[item.template] = num_chosen + 1
            yield item


def verify(item: BenchItem) -> bool:
    """Whether a real pytest run is red on the project as it is and green without the bug."""
    red, green = int(pytest.ExitCode.TESTS_FAILED), int(pytest.ExitCode.OK)
    return pytest_exit_code(item.files) == red and pytest_exit_code(item.good_files()) == green


def pytest_exit_code(files: Mapping[str, str]) -> int | None:
    """Exit code of `python -m pytest` in a project of these files; None when it does not end in time.

    Runs in a process of its own; never a fork, which hangs where a library of ours has threads.
    """
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        child = multiprocessing.get_context("spawn").Process(target=_pytest_child, args=(folder,))
        child.start()
        child.join(VERIFY_TIMEOUT_S)
        if child.is_alive():
            child.kill()
            child.join()
            return None
        return child.exitcode


def _pytest_child(folder: str) -> None:
    os.chdir(folder)
    sys.path.insert(0, folder)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--disable-plugin-autoload", "--rootdir", folder])
    os._exit(int(code))


def load(path: Path) -> list[BenchItem]:
    """The items of a set, in the file's order."""
    return [BenchItem(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Command line: choose, verify and write the set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--known", type=int, default=NUM_KNOWN, help="bugs in held-out functions of trained templates")
    parser.add_argument("--unknown", type=int, default=NUM_UNKNOWN, help="bugs in held-out templates")
    args = parser.parse_args()
    known = list(choose(textbook.trained_templates(), args.known, MAX_PER_KNOWN))
    unknown = list(choose(textbook.held_out_templates(), args.unknown, MAX_PER_UNKNOWN))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", encoding="utf-8") as out:
        for item in sorted(known + unknown, key=lambda item: item.id):
            out.write(json.dumps(dataclasses.asdict(item), ensure_ascii=False) + "\n")
    print(f"{args.out}: {len(known)} known, {len(unknown)} unknown")


if __name__ == "__main__":
    main()
