"""Gather permissively licensed Python that is installed on this machine.

    python -m qcn_agent.training.corpus --out data/corpus.jsonl.gz [--root SITE_PACKAGES ...]

Writes one SourceFile a line, and beside it `corpus_manifest.json`: packages, licences, bytes, functions.
"""

import argparse
import dataclasses
import gzip
import hashlib
import json
import os
import sysconfig
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from qcn_agent.training.source_file import SourceFile, scan

_LICENCES = {  # package:megabytes that may come from it
    "PSF-2.0": "stdlib:14 matplotlib:7",
    "BSD": "torch:14 sympy:14 networkx:6 numpy:5 pygments:3 click:1 jinja2:1 werkzeug:2 flask:1 django:8 sphinx:4 "
    "pandas:8 funcy:1 toolz:1 boltons:2 mpmath:2 fsspec:1 idna:1",
    "MIT": "setuptools:2 pip:3 rich:2 sqlalchemy:8 black:1 mypy:5 algorithms:2 pyparsing:1 parso:1 jedi:2 peewee:1 "
    "bottle:1 tinydb:1 pyflakes:1 cachetools:1 humanize:1 more_itertools:1 attr:1 attrs:1 _pytest:3 pytest:1 typer:1 "
    "pydantic:2 anyio:1 h11:1 urllib3:1 yaml:1 markdown_it:1 gguf:1 cattrs:1 cattr:1 filelock:1",
    "Apache-2.0": "transformers:12 requests:1 tornado:2 nltk:3 sortedcontainers:1 huggingface_hub:2 diskcache:1 "
    "pygls:1 packaging:1",
}
SKIPPED_FOLDERS = {"test", "tests", "testing", "idlelib", "lib2to3", "turtledemo", "pgen2"} | {
    "_vendor",
    "vendor",
    "third_party",
    "typeshed",
    "site-packages",
}
MIN_FRESH_SHARE = 0.4  # a file with fewer new functions is mostly copied code
MAX_TABLE_CHARS = 30_000  # a longer file without a new function is a table


@dataclass(frozen=True)
class Package:
    """Where text may come from, and how much of it."""

    name: str
    licence: str
    max_bytes: int


PACKAGES = {
    name: Package(name, licence, int(megabytes) * 1_000_000)
    for licence, words in _LICENCES.items()
    for name, megabytes in (word.split(":") for word in words.split())
}


@dataclass
class Manifest:
    """What a corpus was made of; `bytes` and `functions` by package."""

    licences: dict[str, str] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)
    num_files: int = 0
    num_held_out: int = 0

    def add(self, file: SourceFile) -> None:
        """Count one file."""
        name = file.package
        self.licences[name] = PACKAGES[name].licence
        self.bytes[name] = self.bytes.get(name, 0) + len(file.text.encode())
        self.functions[name] = self.functions.get(name, 0) + len(file.functions)
        self.num_files += 1
        self.num_held_out += sum(function.held_out for function in file.functions)


def package_files(roots: Iterable[Path], standard_library: Path) -> list[tuple[str, Path, str]]:
    """(package, file, path relative to its root) of every candidate, in a mixed but fixed order."""
    found = [("stdlib", path, str(path.relative_to(standard_library))) for path in _python_files(standard_library)]
    seen = {"stdlib"}
    for root in roots:
        for entry in sorted(root.iterdir()):
            name = entry.name.removesuffix(".py")
            if name in PACKAGES and name not in seen:
                seen.add(name)
                paths = [entry] if entry.is_file() else _python_files(entry)
                found += [(name, path, str(path.relative_to(root))) for path in paths]
    return sorted(found, key=lambda item: hashlib.sha256(f"{item[0]}/{item[2]}".encode()).digest())


def _python_files(folder: Path) -> list[Path]:
    paths = sorted(folder.rglob("*.py"))
    return [path for path in paths if not SKIPPED_FOLDERS & set(path.relative_to(folder).parts[:-1])]


def gather(scanned: Iterable[SourceFile | None], manifest: Manifest, max_bytes: int) -> Iterator[SourceFile]:
    """The files to keep: no function twice (names ignored), packages within their caps, `max_bytes` in all."""
    seen: set[str] = set()
    for file in scanned:
        if file is None or manifest.bytes.get(file.package, 0) > PACKAGES[file.package].max_bytes:
            continue
        by_digest = {function.digest: function for function in file.functions}
        fresh = tuple(function for digest, function in by_digest.items() if digest not in seen)
        is_copy = len(fresh) < MIN_FRESH_SHARE * len(file.functions)
        if is_copy or (not fresh and len(file.text) > MAX_TABLE_CHARS):
            continue
        seen.update(function.digest for function in fresh)
        kept = dataclasses.replace(file, functions=fresh)
        manifest.add(kept)
        yield kept
        if sum(manifest.bytes.values()) > max_bytes:
            return


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--root", type=Path, action="append", default=[], help="more folders that hold packages")
    parser.add_argument("--max-mb", type=float, default=110)
    args = parser.parse_args()
    paths = sysconfig.get_paths()
    jobs = package_files([Path(paths["purelib"]), *args.root], Path(paths["stdlib"]))
    manifest = Manifest()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool, gzip.open(args.out, "wt", encoding="utf-8") as out:
        scanned = pool.map(scan, *zip(*jobs, strict=True), chunksize=16)
        for file in gather(scanned, manifest, int(args.max_mb * 1e6)):
            out.write(json.dumps(dataclasses.asdict(file)) + "\n")
        pool.shutdown(cancel_futures=True)
    text = json.dumps(dataclasses.asdict(manifest), indent=1, sort_keys=True)
    args.out.with_name("corpus_manifest.json").write_text(text, encoding="utf-8")
    megabytes, functions = sum(manifest.bytes.values()) / 1e6, sum(manifest.functions.values())
    print(f"{manifest.num_files} files, {megabytes:.1f} MB, {functions} functions, {manifest.num_held_out} held out")


if __name__ == "__main__":
    main()
