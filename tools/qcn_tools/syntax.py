"""The syntax gate: an edit may not break a Python file that compiled before."""

from pathlib import Path

from qcn_tools.base import Observation
from qcn_tools.worker import call_worker

_TIMEOUT_S = 10.0
_WORKER = Path(__file__).with_name("syntax_worker.py")
_SUFFIXES = (".py", ".pyi")


async def syntax_error(path: Path, shown: str, before: bytes, after: bytes) -> Observation | None:
    """An `edit_syntax_error` when `path` is Python, `before` compiles and `after` does not; else None.

    Judged by the Python that runs this program; a check that itself fails lets the edit pass.
    """
    if path.suffix not in _SUFFIXES:
        return None
    request = {"before": before.decode("latin-1"), "after": after.decode("latin-1")}
    problem = await call_worker(_WORKER, request, _TIMEOUT_S)
    return Observation("edit_syntax_error", {"path": shown, **problem}, ok=False) if problem else None
