"""One file of the corpus: its text, its small functions, and the lines that training must not see."""

import ast
import gzip
import hashlib
import json
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcn_agent.training.reserved import RESERVED

HELD_OUT_SHARE = 50  # one function in so many is only for evaluation
MIN_FILE_CHARS, MAX_FILE_CHARS = 200, 400_000
MIN_FUNCTION_LINES, MAX_FUNCTION_LINES = 3, 40
MIN_CORE_CHARS = 60  # a shorter function holds nothing to learn
MAX_LINE_CHARS = 160
MAX_WIDE_LINES, WIDE_LINE_CHARS = 3, 300  # more of them: generated data
_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+|\"[^\"\n]*\"|'[^'\n]*'|#[^\n]*|\S")


@dataclass(frozen=True)
class FunctionSpan:
    """A function or method: lines `first_line`..`last_line` (1-based); class_name "" outside classes."""

    first_line: int
    last_line: int
    name: str
    class_name: str
    class_line: int
    digest: str

    @property
    def held_out(self) -> bool:
        """Whether it is only for evaluation."""
        return is_held_out(self.digest)


@dataclass(frozen=True)
class SourceFile:
    """A file. `cuts` are line ranges (1-based, inclusive) that training must never see as running text."""

    package: str
    path: str
    text: str
    functions: tuple[FunctionSpan, ...]
    cuts: tuple[tuple[int, int], ...]


def is_held_out(digest: str) -> bool:
    """The corpus's hold-out rule."""
    return int(digest[:4], 16) % HELD_OUT_SHARE == 0


def digest(code: str) -> str:
    """Hash of code that ignores names, the text of strings, comments and layout."""
    names: dict[str, str] = {}
    out = []
    for token in _TOKEN.findall(code):
        if token[0] == "#":
            continue
        if token[0] in "\"'":
            token = "S"  # noqa: S105 - a token of code, not a secret
        elif (token[0].isalpha() or token[0] == "_") and not keyword.iskeyword(token):
            token = names.setdefault(token, f"n{len(names)}")
        out.append(token)
    return hashlib.sha256(" ".join(out).encode()).hexdigest()[:16]


def scan(package: str, path: Path, relative: str) -> SourceFile | None:
    """Read one file; None when it is no plain Python source of a usable size."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text) if _is_usable(text) else None
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
        return None
    if tree is None:
        return None
    lines = text.split("\n")
    functions = tuple(_functions(tree.body, lines))
    reserved = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in RESERVED]
    cuts = [(node.lineno, node.end_lineno or node.lineno) for node in reserved]
    cuts += [(function.first_line, function.last_line) for function in functions if function.held_out]
    return SourceFile(package, relative, text, functions, tuple(sorted(cuts)))


def _is_usable(text: str) -> bool:
    is_plain = MIN_FILE_CHARS <= len(text) <= MAX_FILE_CHARS and "\t" not in text
    return is_plain and sum(len(line) > WIDE_LINE_CHARS for line in text.split("\n")) <= MAX_WIDE_LINES


def _functions(
    body: list[ast.stmt], lines: list[str], class_name: str = "", class_line: int = 0
) -> Iterator[FunctionSpan]:
    """Usable functions of a module and methods of its classes."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not class_name:
            yield from _functions(node.body, lines, node.name, node.lineno)
        elif isinstance(node, ast.FunctionDef) and node.name not in RESERVED:
            last = node.end_lineno or node.lineno
            core = _core(node, lines)
            is_small = MIN_FUNCTION_LINES <= last - node.lineno + 1 <= MAX_FUNCTION_LINES
            is_narrow = all(len(line) <= MAX_LINE_CHARS for line in lines[node.lineno - 1 : last])
            if is_small and is_narrow and len(core) >= MIN_CORE_CHARS:
                yield FunctionSpan(node.lineno, last, node.name, class_name, class_line, digest(core))


def _core(node: ast.FunctionDef, lines: list[str]) -> str:
    """The function's code under the name `f`, without its docstring; "" when nothing else is there."""
    first = node.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    code = node.body[1:] if has_docstring else node.body
    if not code:
        return ""
    return "\n".join([lines[node.lineno - 1].replace(node.name, "f", 1), *lines[code[0].lineno - 1 : node.end_lineno]])


def load(path: Path) -> list[SourceFile]:
    """All files of a corpus."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [_from_json(json.loads(line)) for line in lines]


def _from_json(values: dict[str, Any]) -> SourceFile:
    functions = tuple(FunctionSpan(**function) for function in values.pop("functions"))
    cuts = tuple((first, last) for first, last in values.pop("cuts"))
    return SourceFile(functions=functions, cuts=cuts, **values)
