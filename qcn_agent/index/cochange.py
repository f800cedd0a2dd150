"""Which files change together, from the last commits."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from qcn_agent.index.git import run_git

MAX_COMMITS = 1000
MAX_FILES_OF_A_COMMIT = 30
MAX_NEIGHBOURS = 20
_TIMEOUT_S = 60.0


def head_of(workspace: Path) -> str:
    """The commit that is checked out; "" where there is none."""
    output = run_git(workspace, "rev-parse", "--verify", "-q", "HEAD", timeout_s=10.0)
    return output.decode("ascii", "replace").strip() if output else ""


def commits_of(workspace: Path) -> Iterator[frozenset[str]]:
    """The files of each of the last MAX_COMMITS commits without merges, newest first; large commits are left out."""
    output = run_git(
        workspace,
        "log",
        f"--max-count={MAX_COMMITS}",
        "--no-merges",
        "--no-renames",
        "--no-ext-diff",
        "--no-textconv",
        "--relative",
        "--name-only",
        "--format=%x00%x00",
        "-z",
        timeout_s=_TIMEOUT_S,
    )
    for commit in (output or b"").split(b"\0\0\0"):
        names = frozenset(os.fsdecode(name.lstrip(b"\n")) for name in commit.split(b"\0") if name.strip(b"\n"))
        if 1 < len(names) <= MAX_FILES_OF_A_COMMIT:
            yield names


def cochange_rows(workspace: Path, file_ids: Mapping[str, int]) -> list[tuple[int, int, float]]:
    """(file_id, other_id, weight) both ways, the MAX_NEIGHBOURS strongest of each file, sorted.

    A commit of n files adds 1 / (n - 1) to each of its pairs; the sum is divided by the root of how often both changed,
    so that a file that is in every commit is no one's neighbour.
    """
    weights: dict[tuple[int, int], float] = defaultdict(float)
    changes: Counter[int] = Counter()
    for names in commits_of(workspace):
        present = sorted(file_ids[name] for name in names if name in file_ids)
        changes.update(present)
        for pair in combinations(present, 2):
            weights[pair] += 1 / (len(names) - 1)
    neighbours: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for (one, other), weight in weights.items():
        scaled = weight / math.sqrt(changes[one] * changes[other])
        neighbours[one].append((-scaled, other))
        neighbours[other].append((-scaled, one))
    return [
        (file_id, other_id, round(-weight, 6))
        for file_id in sorted(neighbours)
        for weight, other_id in sorted(neighbours[file_id])[:MAX_NEIGHBOURS]
    ]
