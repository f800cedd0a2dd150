"""aider beside us: its repository map of the same tree for the same text, from a process in its own environment."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.index.files import list_files

CHILD = Path(__file__).with_name("localise_aider_child.py")
NOT_MEASURED = "not measured (--aider-python PATH: the Python of an environment with aider-chat)"


@dataclass(frozen=True)
class AiderAnswer:
    """Files as aider ranks them, those that its map names, and the seconds that the map took."""

    order: Sequence[str]
    shown: Sequence[str]
    seconds: float


class Aider:
    """A process that answers one question after another. Raises OSError where `python` can't be run."""

    def __init__(self, python: Path, cache: Path) -> None:
        self._cache = cache
        self._process = subprocess.Popen(
            [str(python), str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(cache), "TERM": "dumb"},
        )

    def ask(self, tree: Path, text: str) -> AiderAnswer:
        """The map of a tree for a text. Raises SystemExit where the process ended."""
        question = {
            "root": str(tree),
            "files": list(list_files(tree)),
            "text": text,
            "cache": str(self._cache / f"tags-{tree.name}"),
        }
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("aider has no pipes")
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("aider's process ended: is aider-chat in that environment?")
        return AiderAnswer(**json.loads(answer))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
