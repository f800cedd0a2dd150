"""The labelled set of `make bench-localise`: its items, and the wheels they are about."""

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

LABELS = Path(__file__).with_name("data") / "localise_labels.jsonl"


@dataclass(frozen=True)
class Item:
    """A changelog entry of version `after` of a project, and the modules of `before` that had to change for it."""

    project: str
    before: str
    after: str
    text: str
    gold: tuple[str, ...]


def load_items(labels: Path = LABELS) -> list[Item]:
    """All items."""
    rows = [json.loads(line) for line in labels.read_text(encoding="utf-8").splitlines()]
    return [Item(**{**row, "gold": tuple(row["gold"])}) for row in rows]


def fetched_wheel(project: str, version: str, cache: Path) -> Path | None:
    """The wheel of a version, from the cache or from PyPI; None where there is none for this Python."""
    folder = cache / "wheels" / f"{project}-{version}"
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, f"{project}=={version}", "-d", str(folder)], check=False, capture_output=True)
        folder.mkdir(parents=True, exist_ok=True)
    return next(folder.glob("*.whl"), None)


def unpacked(project: str, version: str, cache: Path) -> Path:
    """The folder with a version's modules."""
    folder = cache / "trees" / f"{project}-{version}"
    if not folder.is_dir():
        wheel = fetched_wheel(project, version, cache)
        if wheel is None:
            raise SystemExit(f"there is no wheel of {project} {version} for this Python")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".py")])
    return folder
