"""Which files of a workspace no model is to see: those that version control or `.qcnignore` ignores."""

import asyncio
from pathlib import Path

from qcn_agent.index.files import is_left_out

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
        self._known[path] = await asyncio.to_thread(is_left_out, self._root, path, _TIMEOUT_S)
