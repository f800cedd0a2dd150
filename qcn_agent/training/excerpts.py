"""Pieces of the corpus: small files around one function, and windows of running text."""

import ast
import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from qcn_agent.training.source_file import FunctionSpan, SourceFile

IMPORT = re.compile(r"^(?:import |from )[\w., ]+(?:import [\w., ]+)?$")
MAX_IMPORTS, IMPORT_LINES = 4, 40
MAX_LINES = 30  # of the function
MAX_NEIGHBOUR_LINES = 20
MAX_DOC_CHARS = 100
NUM_DRAWS = 50


@dataclass(frozen=True)
class Excerpt:
    """A small module around the function `name`, whose text starts at offset `start`."""

    path: str
    text: str
    name: str
    doc: str
    start: int
    node: ast.FunctionDef


class Excerpts:
    """Draws from the functions on one side of the hold-out rule."""

    def __init__(self, files: Sequence[SourceFile], *, held_out: bool = False) -> None:
        self._files = files
        self._cumulative_chars = list(itertools.accumulate(len(file.text) for file in files))
        self._functions = [
            (file, index)
            for file in files
            for index, function in enumerate(file.functions)
            if function.held_out == held_out and function.last_line - function.first_line < MAX_LINES
        ]

    def draw(self, rng: random.Random) -> Excerpt:
        """A small module around one function. Raises LookupError when none parses."""
        for _ in range(NUM_DRAWS if self._functions else 0):
            file, index = rng.choice(self._functions)
            excerpt = _excerpt(rng, file, index)
            if excerpt is not None:
                return excerpt
        raise LookupError("no function")

    def window(self, rng: random.Random, num_chars: int) -> str:
        """Running text of some file, whole lines at its start, without the lines training must not see."""
        if not self._files:
            raise LookupError("no files")
        text = trainable_text(rng.choices(self._files, cum_weights=self._cumulative_chars)[0])
        start = text.rfind("\n", 0, rng.randint(0, max(0, len(text) - num_chars * 3 // 4))) + 1
        return text[start : start + num_chars]


def trainable_text(file: SourceFile) -> str:
    """The file without its cuts."""
    lines: list[str | None] = list(file.text.split("\n"))
    for first, last in file.cuts:
        lines[first - 1 : last] = [None] * (last - first + 1)
    return "\n".join(line for line in lines if line is not None)


def _excerpt(rng: random.Random, file: SourceFile, index: int) -> Excerpt | None:
    function = file.functions[index]
    lines = file.text.split("\n")
    imports = [line for line in lines[:IMPORT_LINES] if IMPORT.match(line)][: rng.randint(0, MAX_IMPORTS)]
    head = "\n".join(imports) + "\n\n\n" if imports else ""
    head += _before(rng, file, index, lines)
    text = head + "\n".join(lines[function.first_line - 1 : function.last_line]) + "\n"
    try:
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    except SyntaxError:
        return None
    node = next((node for node in nodes if node.name == function.name and node.lineno > head.count("\n")), None)
    if node is None:
        return None
    doc = (ast.get_docstring(node) or "").strip().split("\n")[0][:MAX_DOC_CHARS]
    return Excerpt(_path(rng, file), text, function.name, doc, len(head), node)


def _before(rng: random.Random, file: SourceFile, index: int, lines: list[str]) -> str:
    """The class line of a method, or at times the function that stands before."""
    function = file.functions[index]
    if function.class_name:
        line = lines[function.class_line - 1]
        return f"{line}\n" if line.rstrip().endswith(":") else f"class {function.class_name}:\n"
    neighbour = file.functions[index - 1] if index else None
    if neighbour is None or rng.random() >= 0.25 or not _is_good_neighbour(neighbour):
        return ""
    return "\n".join(lines[neighbour.first_line - 1 : neighbour.last_line]) + "\n\n\n"


def _is_good_neighbour(function: FunctionSpan) -> bool:
    is_short = function.last_line - function.first_line < MAX_NEIGHBOUR_LINES
    return not function.class_name and not function.held_out and is_short


def _path(rng: random.Random, file: SourceFile) -> str:
    name = PurePosixPath(file.path).name
    return rng.choice(("", f"{file.package}/", "src/")) + ("init.py" if name == "__init__.py" else name)
