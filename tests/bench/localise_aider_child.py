"""aider's repository map, asked for: run by the Python of a virtual environment that has `aider-chat`.

Lines of JSON. In: {"root", "files", "text", "cache"}; `files` are paths in `root`, aider's tags are kept in `cache`.
Out: {"order", "shown", "seconds"}: the files as aider ranks them, those of them that its map of the usual size names,
and how long the map took. Tokens are counted as a quarter of the characters, as no model is at hand.
"""

import json
import os
import sys
import time
from pathlib import Path

from aider.coders.base_coder import Coder  # type: ignore[import-not-found]
from aider.io import InputOutput  # type: ignore[import-not-found]
from aider.repomap import RepoMap  # type: ignore[import-not-found]

MAP_TOKENS = 1024  # aider's default; eight times that while no file is in the chat
CONTEXT_TOKENS = 128_000


class CharacterCounter:
    """Stands for the model that counts tokens."""

    def token_count(self, text: str) -> int:
        """About as many as a model would count."""
        return len(text) // 4


class Mentions(Coder):  # type: ignore[misc]
    """What aider finds in a text before it asks for the map; a chat without files."""

    def __init__(self, root: str, files: list[str]) -> None:
        self.root, self._files = root, files
        self.abs_fnames: set[str] = set()
        self.abs_read_only_fnames: set[str] = set()

    def get_all_relative_files(self) -> list[str]:
        """Those of the repository."""
        return self._files


class TimedMap(RepoMap):  # type: ignore[misc]
    """Keeps the order of the tags beside the map."""

    def get_ranked_tags(self, *arguments: object, **options: object) -> list[tuple[str, ...]]:
        """As aider ranks them."""
        ranked: list[tuple[str, ...]] = super().get_ranked_tags(*arguments, **options)
        self.ranked = ranked
        return ranked


def asked(repo_map: TimedMap, files: list[str], text: str) -> dict[str, object]:
    """One map, made as aider makes it for a first message."""
    started = time.perf_counter()
    coder = Mentions(repo_map.root, files)
    idents = coder.get_ident_mentions(text)
    names = coder.get_file_mentions(text) | coder.get_ident_filename_matches(idents)
    paths = {os.path.join(repo_map.root, name) for name in files}  # noqa: PTH118 (as aider does)
    shown = repo_map.get_repo_map(set(), paths, names, idents) or ""
    seconds = time.perf_counter() - started
    lines = set(shown.splitlines())
    return {
        "order": list(dict.fromkeys(tag[0] for tag in repo_map.ranked)),
        "shown": [name for name in files if name in lines or f"{name}:" in lines],
        "seconds": seconds,
    }


def main() -> None:
    """Answer until there are no more questions."""
    out, sys.stdout = sys.stdout, sys.stderr  # aider prints
    maps: dict[str, TimedMap] = {}
    for line in sys.stdin:
        question = json.loads(line)
        root = question["root"]
        if root not in maps:
            maps.clear()
            TimedMap.TAGS_CACHE_DIR = str(Path(question["cache"]).absolute())
            maps[root] = TimedMap(
                MAP_TOKENS,
                root,
                CharacterCounter(),
                InputOutput(pretty=False, yes=True),
                max_context_window=CONTEXT_TOKENS,
            )
        out.write(json.dumps(asked(maps[root], question["files"], question["text"])) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
