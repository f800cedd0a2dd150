"""What a file offers, without bodies: signatures and the first line of what documents them."""

from collections.abc import Iterable, Sequence

from qcn_agent.index.pairs import is_test
from qcn_agent.index.record import Depth
from qcn_agent.index.rows import IndexedFile
from qcn_agent.index.tags import Definition
from qcn_prompts.framing import shown_name

MAX_DEFINITIONS = 80  # of one file
_SHOWN = frozenset({"function", "method", "class", "interface", "struct", "trait", "enum", "module", "macro", "impl"})
_BODIES = frozenset({"function", "method", "macro"})


def signature_order(files: Iterable[IndexedFile]) -> list[IndexedFile]:
    """Files that have signatures: sources before tests, near the root first, then by path.

    Nothing that an edit changes decides, so that a head keeps its order.
    """
    parsed = (file for file in files if file.depth is Depth.PARSED)
    return sorted(parsed, key=lambda file: (is_test(file.path), file.path.count("/"), file.path))


def signature_text(path: str, definitions: Sequence[Definition]) -> str:
    """The path, and a line for each definition that lies in no function; "" for a file without any."""
    functions = {one.qualified for one in definitions if one.kind in _BODIES}
    shown = [one for one in definitions if one.kind in _SHOWN and not _lies_in(one.scope, functions)]
    if not shown:
        return ""
    left_out = [f"  … {len(shown) - MAX_DEFINITIONS} more\n"] if len(shown) > MAX_DEFINITIONS else []
    return "".join([f"{shown_name(path)}\n", *(_line(one) for one in shown[:MAX_DEFINITIONS]), *left_out])


def _lies_in(scope: str, functions: set[str]) -> bool:
    parts = scope.split(".")
    return any(".".join(parts[:count]) in functions for count in range(1, len(parts) + 1))


def _line(one: Definition) -> str:
    indent = "  " * (1 + len(one.scope.split(".")) if one.scope else 1)
    return f"{indent}{one.signature}{f'  # {one.doc}' if one.doc else ''}\n"
