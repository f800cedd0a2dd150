"""Makes the labelled set for `make bench-localise`: changelog entries of bug-fix releases, and the files they changed.

usage: python -m tests.bench.localise_labels CACHE_FOLDER

An item is one entry of a bug-fix release B (A and B share all but the last number of their version). Its gold files are
the non-test modules that differ between the wheels of A and B, when comments, docstrings and version numbers are left
out. An entry is kept where there is no choice which files it belongs to:

- one module changed (then each of at most MAX_ENTRIES entries is about it), or
- the release has one entry (then at most MAX_FILES changed modules are its).

No word of the entry is compared with the code to decide this, so no way of ranking by words is favoured: what is kept
depends on counts alone. The price is that only small releases are in the set, and that some entries are about something
else than code, of which those that say so are left out (NOT_CODE). Entries are shorter than issues: no traces, little
code.

Wheels are read, never installed, and the changelog comes from one late source distribution of each project. Half of the
projects, by a hash of their names, are for tuning, the others for reporting.
"""

import ast
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

from qcn_agent.index.pairs import is_test
from tests.bench.localise_set import LABELS, Item, fetched_wheel
from tests.bench.report import progress

# project → (the distribution with its changelog, which files of it are that)
CHANGELOGS = {
    "aiohttp": ("3.14.5", r"/CHANGES\.rst"),
    "babel": ("2.18.0", r"/CHANGES\.rst"),
    "black": ("26.10.1", r"/CHANGES\.md"),
    "celery": ("5.7.0", r"/(?:Changelog|docs/history/changelog-[45]\.\d)\.rst"),
    "click": ("8.5.1", r"/CHANGES\.md"),
    "coverage": ("7.17.3", r"/CHANGES\.rst"),
    "django": ("5.2.19", r"/docs/releases/(?:[2345]\.\d\.\d+)\.txt"),
    "httpx": ("0.28.1", r"/CHANGELOG\.md"),
    "isort": ("9.0.2", r"/CHANGELOG\.md"),
    "jinja2": ("3.1.3", r"/CHANGES\.rst"),
    "marshmallow": ("4.4.0", r"/CHANGELOG\.rst"),
    "pip": ("26.3", r"/NEWS\.rst"),
    "scrapy": ("2.19.0", r"/docs/news\.rst"),
    "setuptools": ("84.2.1", r"/NEWS\.rst"),
    "starlette": ("1.10.0", r"/docs/release-notes\.md"),
    "tornado": ("6.6.1", r"/docs/releases/v[\d.]+\.rst"),
    "urllib3": ("2.8.0", r"/CHANGES\.rst"),
    "werkzeug": ("3.1.9", r"/CHANGES\.rst"),
}
MAX_ENTRIES = 4
MAX_FILES = 3
MAX_ITEMS_OF_A_PROJECT = 20
MAX_RELEASES_OF_A_PROJECT = 14
MIN_WORDS = 4
NOT_CODE = re.compile(
    r"\b(docs?|documentation|changelog|readme|type (hint|annotation|stub)s?|typing|mypy|wheels?|sdist|packaging|ci|tests?|"
    r"metadata|dependenc(y|ies)|pin|unpin|bump|vendored|cython|c extension|license|pypi|translations?|typos?|upgrade[ds]?)"
    r"\b",
    re.IGNORECASE,
)

_VERSION = re.compile(r"(?<![\w.])v?(\d+\.\d+(?:\.\d+){0,2})(?![\w.]*\d)")
_BULLET = re.compile(r"^(\s*)[-*]\s+(?=\S)")
_REFERENCE = re.compile(
    r"\(?:?(?:issue|pr|ghpull|gh|ticket|bug|ghsa|user|cve):`[^`]*`\)?|\{(?:issue|pr)\}`\d+`|`?#\d+ ?(?:<[^>]*>`_+)?|"
    r"<https?:[^>]*>`?_*|\[#?\d+\]\([^)]*\)|https?://\S+|\(\s*,?\s*\)|\(by [^)]*\)| [bB]y @\S+.*$| @\S+$"
)


def entries_of(changelog: str, only: str = "") -> dict[str, list[str]]:
    """The entries of each version in Markdown or reStructuredText; `only`: all belongs to this version."""
    lines, version = changelog.splitlines(), only
    entries: dict[str, list[str]] = {}
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if not only and _is_heading(line, following) and (found := _VERSION.search(line)):
            version = found[1]
        elif (bullet := _BULLET.match(line)) and version and len(bullet[1]) < 4:
            entries.setdefault(version, []).append(_entry(lines[number:], len(bullet[1])))
    return entries


def _is_heading(line: str, following: str) -> bool:
    underlined = len(following) >= 3 and len(set(following.strip())) == 1 and following[0] in "=-~^*"
    return bool(line.strip()) and (line.startswith("#") or underlined)


def _entry(lines: list[str], indent: int) -> str:
    """A bullet with the lines that continue it, up to the next blank line, without references."""
    taken = [_BULLET.sub("", lines[0])]
    for line in lines[1:]:
        if not line.strip() or len(line) - len(line.lstrip()) <= indent:
            break
        taken.append(line.strip())
    text = " ".join(taken)
    return re.sub(r"\s+", " ", _REFERENCE.sub("", text)).strip(" .,;") + "."


def changelog_of(project: str, cache: Path) -> dict[str, list[str]]:
    """The entries of all versions of a project."""
    version, pattern = CHANGELOGS[project]
    found = next(cache.glob(f"sources/{project}-{version}.tar.gz"), None) or _fetched_source(project, version, cache)
    entries: dict[str, list[str]] = {}
    with tarfile.open(found) as archive:
        for member in archive.getmembers():
            if re.search(pattern + "$", member.name):
                text = archive.extractfile(member).read().decode("utf-8", "replace")
                name = Path(member.name).stem.lstrip("v") if "\\d" in pattern and project != "celery" else ""
                entries |= entries_of(text, name)
    return entries


def _fetched_source(project: str, version: str, cache: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", project]
    subprocess.run([*command, f"{project}=={version}", "-d", str(cache / "sources")], check=True)
    return next(cache.glob(f"sources/{project}-{version}.tar.gz"))


def predecessor(version: str, versions: Iterable[str]) -> str | None:
    """The version before it that differs in the last number only; None where it is the first of its series."""
    parts = _numbers(version)
    earlier = [other for other in map(_numbers, versions) if other[:-1] == parts[:-1] and other[-1] == parts[-1] - 1]
    if len(parts) == 3 and parts[2] == 1 and not earlier:
        earlier = [other for other in map(_numbers, versions) if other == parts[:2]]
    return ".".join(map(str, earlier[0])) if earlier else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def modules_of(wheel: Path) -> dict[str, str]:
    """The non-test modules of a wheel, by path, and what they are without comments, docstrings and version numbers."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py") and not is_test(name)]
        return {name: bare_code(archive.read(name).decode("utf-8", "replace")) for name in names}


def bare_code(source: str) -> str:
    """The tree of a module, with strings that stand alone and assignments to version names left out."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [one for one in body if not _is_noise(one)]
    return ast.dump(tree)


def _is_noise(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = {name.id.lower() for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return bool(names) and all("version" in name or name in ("__date__", "release", "__build__") for name in names)


def changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Modules of `before` that are other ones in `after`; version files don't count."""
    changed = [path for path, code in before.items() if path in after and after[path] != code]
    return sorted(path for path in changed if "version" not in Path(path).stem)


def items_of(project: str, cache: Path) -> Iterator[Item]:
    """The items of a project, the newest releases first."""
    entries = changelog_of(project, cache)
    num_items = num_releases = 0
    for version in sorted(entries, key=_numbers, reverse=True):
        before = predecessor(version, entries.keys() | {version.rpartition(".")[0]})
        is_enough = num_items >= MAX_ITEMS_OF_A_PROJECT or num_releases >= MAX_RELEASES_OF_A_PROJECT
        if before is None or len(entries[version]) > MAX_ENTRIES or is_enough:
            continue
        texts = [text for text in entries[version] if len(text.split()) >= MIN_WORDS and not NOT_CODE.search(text)]
        num_releases += bool(texts)
        wheels = [fetched_wheel(project, which, cache) for which in (before, version)] if texts else [None]
        if None in wheels:
            continue
        gold = changed_files(modules_of(wheels[0]), modules_of(wheels[1]))
        if len(gold) == 1 or (len(entries[version]) == 1 and 0 < len(gold) <= MAX_FILES):
            for text in texts:
                num_items += 1
                yield Item(project, before, version, text, tuple(gold))


def is_for_tuning(project: str) -> bool:
    """Which half a project is in."""
    return blake2b(project.encode(), digest_size=1).digest()[0] % 2 == 0


def main() -> None:
    """Write the labels."""
    cache = Path(sys.argv[1])
    with LABELS.open("w", encoding="utf-8") as file:
        for project in CHANGELOGS:
            items = list(items_of(project, cache))
            progress(f"{project}: {len(items)} items of {len({item.after for item in items})} releases")
            file.writelines(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in items)


if __name__ == "__main__":
    main()
