"""The first user turn: the issue, the file list and the tests as they are. Deterministic."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from qcn_prompts import Profile
from qcn_tools.report import TestReport

NOT_NAMED = 2  # rank of a file that neither the issue nor a failing test names


def opening_text(profile: Profile, issue: str, files: Sequence[str], tests: tuple[str, Mapping[str, Any]]) -> str:
    """Render the opening. `tests` is the observation (kind, fields) of the baseline run."""
    report = tests[1].get("report")
    chosen = choose_files(files, issue, report, profile.settings.num_files)
    return profile.opening(issue=issue, files=chosen, num_files=len(files), tests=profile.observe(tests[0], tests[1]))


def choose_files(files: Sequence[str], issue: str, report: TestReport | None, limit: int) -> list[str]:
    """At most `limit` paths, sorted. When not all fit: those that the issue or a failing test names, else any."""
    if len(files) <= limit:
        return sorted(files)
    failing = " ".join(failure.test_id for failure in report.failures) if report else ""
    words = set(re.findall(r"\w+", f"{issue} {failing}".lower()))
    ranked = sorted((_rank(name, issue, words), name) for name in files)
    named = [name for rank, name in ranked if rank < NOT_NAMED]
    return sorted((named or [name for _, name in ranked])[:limit])


def _rank(name: str, issue: str, words: set[str]) -> int:
    path = PurePosixPath(name)
    stem = path.stem.lower()
    if name in issue or path.name in issue:
        return 0
    if stem in words or f"test_{stem}" in words or stem.removeprefix("test_") in words:
        return 1
    return NOT_NAMED if path.suffix == ".py" else NOT_NAMED + 1
