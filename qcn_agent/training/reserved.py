"""Names of public benchmark programs (QuixBugs, HumanEval): no function of such a name is ever trained on."""

from pathlib import Path

_LINES = Path(__file__).with_name("reserved_names.txt").read_text(encoding="utf-8").splitlines()
RESERVED = frozenset(name for line in _LINES if not line.startswith("#") for name in line.split())
