"""Snapshots from text with a cursor mark."""

from qcn_agent.completion.values import Snapshot

CURSOR = "¦"


def at(text: str, path: str = "app.py", language: str = "python", version: int = 1) -> Snapshot:
    """`text` with the cursor at ¦."""
    before, mark, after = text.partition(CURSOR)
    assert mark, "no cursor"
    return Snapshot(f"file:///w/{path}", path, language, version, before, after)
