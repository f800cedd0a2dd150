"""Which files of a workspace no model is to see: those that version control or `.qcnignore` ignores."""

import asyncio
from pathlib import Path

from qcn_agent.index.git import run_git
from qcn_agent.index.ignore import QCNIGNORE, IgnoreRules

_TIMEOUT_S = 2.0
_MAX_KNOWN = 4096


class Ignored:
    """Of one workspace. What is not known yet counts as ignored, so that nothing slips through before it is."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, bool] = {}

    def __call__(self, path: str) -> bool:
        """Whether a path, relative with slashes, is ignored."""
        return self._known.get(path, True)

    def knows(self, path: str) -> bool:
        """Whether it was found out."""
        return path in self._known

    async def learn(self, path: str) -> None:
        """Find out about a file; call it when it is opened, and when it is saved, as rules change."""
        while len(self._known) >= _MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[path] = await asyncio.to_thread(is_ignored, self._root, path)


def is_ignored(root: Path, path: str) -> bool:
    """Ask `.qcnignore` and git; where there is no git, `.gitignore` at the root."""
    for name in (QCNIGNORE, ".gitignore"):
        rules = IgnoreRules.read(root / name)
        if rules is not None and any(rules.match(part) for part in _with_parents(path)):
            return True
    return run_git(root, "check-ignore", "-q", "--", path, timeout_s=_TIMEOUT_S) is not None


def _with_parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[: n + 1]) + ("/" if n + 1 < len(parts) else "") for n in range(len(parts))]
