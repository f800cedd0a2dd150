"""Gathering the corpus."""

import dataclasses
from pathlib import Path

from qcn_agent.training import corpus
from qcn_agent.training.corpus import Manifest
from qcn_agent.training.source_file import FunctionSpan, SourceFile


def span(digest: str) -> FunctionSpan:
    """A function with this digest."""
    return FunctionSpan(1, 5, "f", "", 0, digest)


def source(package: str, *digests: str, num_chars: int = 100) -> SourceFile:
    """A file of a package with some functions."""
    return SourceFile(package, "a.py", "x" * num_chars, tuple(span(digest) for digest in digests), ())


def test_only_named_packages_are_taken(tmp_path: Path) -> None:
    """A package that is not in the list, and tests of one that is, are no candidates."""
    for name in ("click/core.py", "click/tests/test_core.py", "unknown/core.py", "bottle.py"):
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "std").mkdir()
    (tmp_path / "std" / "heapq.py").write_text("")
    found = corpus.package_files([tmp_path / "site"], tmp_path / "std")
    assert {(package, relative) for package, _, relative in found} == {
        ("click", "click/core.py"),
        ("bottle", "bottle.py"),
        ("stdlib", "heapq.py"),
    }


def test_the_first_root_wins(tmp_path: Path) -> None:
    """A package that is installed twice is taken once."""
    for root in ("one", "two"):
        (tmp_path / root / "click").mkdir(parents=True)
        (tmp_path / root / "click" / "core.py").write_text("")
    (tmp_path / "std").mkdir()
    found = corpus.package_files([tmp_path / "one", tmp_path / "two"], tmp_path / "std")
    assert [path for _, path, _ in found] == [tmp_path / "one" / "click" / "core.py"]


def test_every_package_has_a_permissive_licence() -> None:
    """Licences are recorded, and none asks for more than a notice."""
    assert {package.licence for package in corpus.PACKAGES.values()} == {"PSF-2.0", "BSD", "MIT", "Apache-2.0"}
    assert all(package.max_bytes > 0 for package in corpus.PACKAGES.values())


def test_a_function_is_kept_once() -> None:
    """Functions seen in an earlier file are dropped from a later one."""
    files = [source("click", "aaaa"), source("rich", "aaaa", "bbbb")]
    kept = list(corpus.gather(files, Manifest(), 10**9))
    assert [[function.digest for function in file.functions] for file in kept] == [["aaaa"], ["bbbb"]]


def test_copied_files_and_tables_are_dropped() -> None:
    """A file of known functions, and a long one without any, teach nothing."""
    files = [source("click", "a", "b", "c"), source("rich", "a", "b", "c"), source("rich", num_chars=40_000)]
    assert len(list(corpus.gather(files, Manifest(), 10**9))) == 1


def test_small_files_without_functions_are_kept() -> None:
    """They are still code to read."""
    assert len(list(corpus.gather([source("click")], Manifest(), 10**9))) == 1


def test_a_package_stops_at_its_cap() -> None:
    """Text beyond the package's share is left out; other packages go on."""
    big = dataclasses.replace(source("click", "a"), text="x" * (corpus.PACKAGES["click"].max_bytes + 1))
    kept = list(corpus.gather([big, source("click", "b"), source("rich", "c")], Manifest(), 10**9))
    assert [file.package for file in kept] == ["click", "rich"]


def test_gathering_stops_at_the_total() -> None:
    """The total is checked after each file."""
    files = [source("click", str(i)) for i in range(10)]
    assert len(list(corpus.gather(files, Manifest(), 250))) == 3


def test_the_manifest_counts_what_is_kept() -> None:
    """Bytes, functions and licences by package; held-out functions in all."""
    manifest = Manifest()
    list(corpus.gather([source("click", "0000", "0001"), None, source("rich", "0002")], manifest, 10**9))
    assert manifest.licences == {"click": "BSD", "rich": "MIT"}
    assert manifest.bytes == {"click": 100, "rich": 100}
    assert manifest.functions == {"click": 2, "rich": 1}
    assert (manifest.num_files, manifest.num_held_out) == (2, 1)
