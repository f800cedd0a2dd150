"""The kinds of single-line bugs: one small function each, registered for the syntax node it applies to.

A kind yields the mutations it sees at one node. Nothing is reformatted; every mutation stays inside one line.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from qcn_agent.training.source_view import MAX_STRING_CHARS, FunctionSource, Mutation

Kind = Callable[[Any, FunctionSource], Iterator[Mutation]]
KINDS: dict[type[ast.AST], list[Kind]] = {}

COMPARISONS = {
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "==": ("!=",),
    "!=": ("==",),
    "in": ("not in",),
    "not in": ("in",),
    "is": ("is not",),
    "is not": ("is",),
}
ARITHMETIC = {
    "+": ("-",),
    "-": ("+",),
    "*": ("+", "/", "//"),
    "/": ("*", "//"),
    "//": ("/", "%", "*"),
    "%": ("//", "*"),
    "**": ("*",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
    "^": ("|",),
}
BOOLEAN = {"and": ("or",), "or": ("and",)}
CALLS = {
    "min": ("max",),
    "max": ("min",),
    "any": ("all",),
    "all": ("any",),
    "append": ("extend",),
    "extend": ("append",),
    "upper": ("lower",),
    "lower": ("upper",),
    "startswith": ("endswith",),
    "endswith": ("startswith",),
    "lstrip": ("rstrip",),
    "rstrip": ("lstrip",),
    "floor": ("ceil",),
    "ceil": ("floor",),
    "keys": ("values",),
    "values": ("keys",),
    "sum": ("len", "max"),
    "popleft": ("pop",),
    "appendleft": ("append",),
    "find": ("rfind",),
    "rfind": ("find",),
    "isdigit": ("isalpha",),
    "isalpha": ("isdigit", "isalnum"),
    "isupper": ("islower",),
    "islower": ("isupper",),
    "first": ("last",),
    "last": ("first",),
    "split": ("rsplit",),
    "rsplit": ("split",),
    "setdefault": ("get",),
    "update": ("add",),
    "add": ("discard",),
    "zip": ("map",),
}
UNWRAPPED_CALLS = {"abs", "sorted", "list", "set", "str", "int", "float", "reversed", "tuple", "bool", "round"}
UNWRAPPED_METHODS = {"lower", "upper", "strip", "copy", "rstrip", "lstrip"}
OPERATOR = re.compile(r"not\s+in|is\s+not|[<>=!]=|//|\*\*|<<|>>|[<>+\-*/%&|^]|\bin\b|\bis\b|\band\b|\bor\b")
AUGMENTED = re.compile(r"(//|\*\*|<<|>>|[+\-*/%&|^])=")
MAX_INT = 1000
MAX_SWAPPED_CHARS = 30


def _kind(*nodes: type[ast.AST]) -> Callable[[Kind], Kind]:
    def register(kind: Kind) -> Kind:
        for node in nodes:
            KINDS.setdefault(node, []).append(kind)
        return kind

    return register


def _between(
    left: Any, right: Any, source: FunctionSource, table: Mapping[str, Iterable[str]], kind: str
) -> Iterator[Mutation]:
    """Other operators between two operands on one line."""
    if left.end_lineno != right.lineno or not source.is_ascii(right.lineno):
        return
    start = source.end(left)
    match = OPERATOR.search(source.text[start : source.start(right)])
    if match:
        for new in table.get(re.sub(r"\s+", " ", match[0]), ()):
            yield from source.put(start + match.start(), start + match.end(), new, kind)


@_kind(ast.Compare)
def _comparison(node: ast.Compare, source: FunctionSource) -> Iterator[Mutation]:
    for left, right in pairwise([node.left, *node.comparators]):
        yield from _between(left, right, source, COMPARISONS, "compare")


@_kind(ast.BinOp)
def _arithmetic(node: ast.BinOp, source: FunctionSource) -> Iterator[Mutation]:
    yield from _between(node.left, node.right, source, ARITHMETIC, "arith")


@_kind(ast.BinOp)
def _off_by_one(node: ast.BinOp, source: FunctionSource) -> Iterator[Mutation]:
    is_one = isinstance(node.right, ast.Constant) and node.right.value == 1
    if is_one and isinstance(node.op, ast.Add | ast.Sub) and source.segment(node.left):
        yield from source.replace(node, source.segment(node.left), "offby1")


@_kind(ast.AugAssign)
def _augmented(node: ast.AugAssign, source: FunctionSource) -> Iterator[Mutation]:
    if node.target.end_lineno != node.value.lineno or not source.is_ascii(node.lineno):
        return
    start = source.end(node.target)
    match = AUGMENTED.search(source.text[start : source.start(node.value)])
    if match:
        yield from source.put(start + match.start(), start + match.end(), "=", "aug")
        for new in ARITHMETIC.get(match[1], ()):
            yield from source.put(start + match.start(1), start + match.end(1), new, "aug")


@_kind(ast.BoolOp)
def _boolean(node: ast.BoolOp, source: FunctionSource) -> Iterator[Mutation]:
    for left, right in pairwise(node.values):
        yield from _between(left, right, source, BOOLEAN, "bool")


@_kind(ast.UnaryOp)
def _sign_or_not_lost(node: ast.UnaryOp, source: FunctionSource) -> Iterator[Mutation]:
    if isinstance(node.op, ast.Not | ast.USub) and source.segment(node.operand):
        yield from source.replace(node, source.segment(node.operand), "negate")


@_kind(ast.If, ast.While, ast.IfExp)
def _condition_negated(node: ast.If | ast.While | ast.IfExp, source: FunctionSource) -> Iterator[Mutation]:
    test = node.test
    if isinstance(test, ast.Name | ast.Call | ast.Attribute) and source.segment(test):
        yield from source.replace(test, "not " + source.segment(test), "negate")


@_kind(ast.Constant)
def _number_or_flag(node: ast.Constant, source: FunctionSource) -> Iterator[Mutation]:
    value = node.value
    if isinstance(value, bool):
        yield from source.replace(node, str(not value), "const")
    elif isinstance(value, int) and abs(value) < MAX_INT and source.segment(node).isdigit():
        near = {value + 1, value - 1} | ({1 - value} if value < 2 else set()) | ({value * 10} if value > 4 else set())
        for new in sorted(n for n in near if n >= 0):
            yield from source.replace(node, str(new), "const")


@_kind(ast.Constant)
def _string(node: ast.Constant, source: FunctionSource) -> Iterator[Mutation]:
    value, segment = node.value, source.segment(node)
    if not isinstance(value, str) or len(value) >= MAX_STRING_CHARS or segment[:1] not in ("'", '"'):
        return
    quote = segment[0]
    others = [s for s in source.strings if s != value][:3]
    others += [" "] if value == "" else [""] if value in (" ", ", ", ",") else []
    for new in others:
        if new.isprintable() and quote not in new and "\\" not in new + segment:
            yield from source.replace(node, quote + new + quote, "string")


@_kind(ast.Name)
def _variable(node: ast.Name, source: FunctionSource) -> Iterator[Mutation]:
    # positions inside f-strings are unreliable before Python 3.12: believe them only where the text agrees
    if isinstance(node.ctx, ast.Load) and node.id in source.names and source.segment(node) == node.id:
        for new in source.names:
            if new != node.id:
                yield from source.replace(node, new, "variable")


@_kind(ast.Attribute)
def _attribute(node: ast.Attribute, source: FunctionSource) -> Iterator[Mutation]:
    if isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load):
        for new in source.attributes_of(node.value.id, called=source.is_called(node)):
            if new != node.attr:
                yield from source.replace(node, f"{node.value.id}.{new}", "attribute")


@_kind(ast.Attribute)
def _method(node: ast.Attribute, source: FunctionSource) -> Iterator[Mutation]:
    if node.attr in CALLS and node.lineno == node.end_lineno and source.is_ascii(node.lineno):
        end = source.end(node)
        for new in CALLS[node.attr]:
            yield from source.put(end - len(node.attr), end, new, "call")


@_kind(ast.Subscript)
def _index(node: ast.Subscript, source: FunctionSource) -> Iterator[Mutation]:
    if isinstance(node.slice, ast.Name) and node.slice.lineno == node.lineno:
        yield from source.replace(node.slice, node.slice.id + " + 1", "index")
        yield from source.replace(node.slice, node.slice.id + " - 1", "index")


@_kind(ast.Slice)
def _slice(node: ast.Slice, source: FunctionSource) -> Iterator[Mutation]:
    lower, upper = node.lower, node.upper
    if node.step is not None:
        return
    if lower is not None and upper is None and source.segment(lower):
        yield from source.replace(node, ":" + source.segment(lower), "slice")
    elif upper is not None and lower is None and source.segment(upper):
        yield from source.replace(node, source.segment(upper) + ":", "slice")


@_kind(ast.Call)
def _function(node: ast.Call, source: FunctionSource) -> Iterator[Mutation]:
    if isinstance(node.func, ast.Name):
        for new in CALLS.get(node.func.id, ()):
            yield from source.replace(node.func, new, "call")


@_kind(ast.Call)
def _range(node: ast.Call, source: FunctionSource) -> Iterator[Mutation]:
    if not isinstance(node.func, ast.Name) or node.func.id != "range" or not node.args:
        return
    end = node.args[min(1, len(node.args) - 1)]
    text = source.segment(end)
    if text and not text.isdigit():
        yield from source.replace(end, text + " - 1", "range")
        yield from source.replace(end, text + " + 1", "range")
    if text and len(node.args) == 1:
        yield from source.replace(end, "1, " + text, "range")


@_kind(ast.Call)
def _unwrap(node: ast.Call, source: FunctionSource) -> Iterator[Mutation]:
    if node.keywords:
        return
    inner: ast.expr | None = None
    if isinstance(node.func, ast.Name) and node.func.id in UNWRAPPED_CALLS and len(node.args) == 1:
        inner = node.args[0]
    elif isinstance(node.func, ast.Attribute) and node.func.attr in UNWRAPPED_METHODS and not node.args:
        inner = node.func.value
    if inner is not None and source.segment(inner):
        yield from source.replace(node, source.segment(inner), "unwrap")


@_kind(ast.Call)
def _swapped_arguments(node: ast.Call, source: FunctionSource) -> Iterator[Mutation]:
    if len(node.args) < 2 or any(isinstance(a, ast.Starred) for a in node.args[:2]):
        return
    first, second = node.args[:2]
    if first.lineno != second.end_lineno:
        return
    a, b = source.segment(first), source.segment(second)
    if a and a != b and max(len(a), len(b)) < MAX_SWAPPED_CHARS:
        gap = source.text[source.end(first) : source.start(second)]
        yield from source.put(source.start(first), source.end(second), b + gap + a, "swap")


@_kind(ast.Return)
def _returned_name(node: ast.Return, source: FunctionSource) -> Iterator[Mutation]:
    if node.value is not None and not isinstance(node.value, ast.Name):
        for name in source.names:
            yield from source.replace(node.value, name, "return")


@_kind(ast.Break, ast.Continue)
def _flow(node: ast.Break | ast.Continue, source: FunctionSource) -> Iterator[Mutation]:
    yield from source.replace(node, "continue" if isinstance(node, ast.Break) else "break", "flow")
