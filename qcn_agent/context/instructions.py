"""What a project's AGENTS.md files ask for, where the user trusts the project."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from qcn_agent.index.files import read_file

NAME = "AGENTS.md"
MAX_BYTES = 32 << 10  # of all of them


def read_instructions(workspace: Path, trusted: Sequence[Path]) -> list[tuple[str, str]]:
    """(path, text) of each AGENTS.md from the repository's root down to the workspace, MAX_BYTES in all.

    Nothing unless the workspace is, or lies in, one of the `trusted` folders; files above those don't count. A path is
    relative to the workspace. The last text is cut at a line to fit.
    """
    root = workspace.resolve()
    allowed = [folder.expanduser().resolve() for folder in trusted]
    found: list[tuple[str, str]] = []
    left = MAX_BYTES
    for depth, folder in reversed(list(enumerate(_up_to_repository(root)))):
        if not any(folder == one or folder.is_relative_to(one) for one in allowed):
            continue
        read = read_file(folder / NAME)
        text = _cut((read[1] if read else None) or b"", left)
        if text:
            found.append(("../" * depth + NAME, text))
            left -= len(text.encode())
    return found


def _up_to_repository(root: Path) -> Iterator[Path]:
    """The workspace and what is above it up to the root of its repository; without one it alone."""
    folders = [root, *root.parents]
    for number, folder in enumerate(folders):
        if (folder / ".git").exists():
            yield from folders[: number + 1]
            return
    yield root


def _cut(contents: bytes, max_bytes: int) -> str:
    text = contents.decode("utf-8", "replace")
    while len(text.encode()) > max_bytes:
        kept = text.encode()[:max_bytes].decode("utf-8", "ignore")
        text = kept[: kept.rfind("\n") + 1]
    return text if text.endswith("\n") or not text else f"{text}\n"
