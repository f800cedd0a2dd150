"""Lines that match, and code that looks alike."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qcn_agent.index.search import MAX_LINE_CHARS, search_files
from qcn_agent.index.similar import WINDOW_LINES, _rarest, similar_code
from tests.fakes.indexed import IndexedTree, indexed, write_tree

ODD = os.fsdecode(b"odd\xff.py")
FILES: dict[str, str | bytes] = {
    "a.py": "def one():\n    return 1\n\ndef two():\n    return 2\n",
    "sub/b.py": "import one\none.two()\n",
    "bin.dat": b"\0def one",
    ODD: "def one(): pass\r\n",
    "long.txt": "x" * 1000 + " needle " + "y" * 1000,
}
# ripgrep's part in it: prints, NUL-separated, those of the files behind `--` that hold the word "def"
RIPGREP = """#!/bin/sh
while [ "$1" != "--" ]; do shift; done
shift
for file in "$@"; do if grep -q def "$file"; then printf '%s\\0' "$file"; fi; done
"""


def found(root: Path, pattern: str, **options: int) -> list[tuple[str, int, str]]:
    """(path, line, text) of the matches."""
    result = search_files(root, list(FILES), pattern, **options)
    return [(match.path, match.line, match.text) for match in result.matches]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files, and no ripgrep."""
    write_tree(tmp_path / "w", FILES)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return tmp_path / "w"


def test_matches_are_sorted_by_path_and_line(root: Path) -> None:
    """Binary files are passed over, carriage returns too, odd names are kept."""
    assert found(root, r"def \w+\(") == [
        ("a.py", 1, "def one():"),
        ("a.py", 4, "def two():"),
        (ODD, 1, "def one(): pass"),
    ]


def test_a_limit_is_told(root: Path) -> None:
    """There is more, is said."""
    result = search_files(root, list(FILES), "def", max_matches=2)

    assert (len(result.matches), result.is_truncated) == (2, True)
    assert not search_files(root, list(FILES), "def", max_matches=3).is_truncated


def test_a_broken_expression_is_plain_text(root: Path) -> None:
    """What else could be meant."""
    assert found(root, "one.two(") == [("sub/b.py", 2, "one.two()")]


def test_long_lines_are_cut(root: Path) -> None:
    """A minified file does not flood the answer."""
    assert [len(text) for _path, _line, text in found(root, "needle")] == [MAX_LINE_CHARS]


def test_a_match_may_span_lines(root: Path) -> None:
    """It counts where it starts."""
    assert found(root, r"return 1\n\ndef") == [("a.py", 2, "    return 1")]


def test_an_expression_that_never_ends_is_ended(root: Path) -> None:
    """And said so."""
    write_tree(root, {"a.py": "a" * 40 + "!"})

    result = search_files(root, ["a.py"], r"(a+)+$", timeout_s=1.0)

    assert result.is_timeout
    assert result.matches == ()


def test_a_link_that_took_a_files_place_is_not_followed(root: Path) -> None:
    """Between the listing and the search."""
    write_tree(root.parent, {"secret": "def secret"})
    (root / "a.py").unlink()
    (root / "a.py").symlink_to(root.parent / "secret")

    assert [path for path, _line, _text in found(root, "secret")] == []


def test_ripgrep_only_chooses_files(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matches are those of the scan; a program in the workspace is not run."""
    scanned = found(root, r"def \w+")
    write_tree(tmp_path, {"tools/rg": RIPGREP, "w/rg": "#!/bin/sh\nexit 0\n"})
    for program in (tmp_path / "tools" / "rg", root / "rg"):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}:{tmp_path / 'tools'}:/usr/bin:/bin")

    assert found(root, r"def \w+") == scanned
    assert found(root, "needle") == []


def test_a_ripgrep_that_fails_does_not_matter(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then all files are scanned."""
    write_tree(tmp_path, {"tools/rg": "#!/bin/sh\nexit 2\n"})
    (tmp_path / "tools" / "rg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:/usr/bin:/bin")

    assert len(found(root, "def")) == 3


LOADER = "\n".join(
    [
        "import json",
        *(f"filler_{number} = {number}" for number in range(40)),
        "def load_settings(path):",
        "    with open(path) as file:",
        "        settings = json.load(file)",
        "    validate_settings(settings)",
        "    return settings",
        *(f"other_{number} = {number}" for number in range(40)),
    ]
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexedTree]:
    """Code to be found again."""
    files = {
        "loader.py": LOADER,
        "loader.js": LOADER.replace("def ", "function "),
        "unrelated.py": "def draw(canvas):\n    canvas.line()\n",
        "typed.py": "def load_settings(path):\n    settings = json.load(path)\n",
    }
    with indexed(tmp_path_factory.mktemp("similar") / "w", files) as built:
        yield built


def test_similar_code_is_a_window_of_the_best_files(tree: IndexedTree) -> None:
    """Of the same language, around what looks alike, never of the file that is being written."""
    typed = "def load_settings(path):\n    settings = json.load(path)\n"

    windows = similar_code(tree.reader, tree.workspace, typed, "python", 3, exclude="typed.py")

    assert windows[0].path == "loader.py"
    assert "loader.js" not in [window.path for window in windows]
    best = windows[0]
    assert "validate_settings" in best.text
    assert best.end_line - best.start_line < WINDOW_LINES
    assert best.text.splitlines() == LOADER.splitlines()[best.start_line - 1 : best.end_line]


def test_rare_words_lead_and_common_ones_are_left_out() -> None:
    """As soon as they are in too many files together; the rarest is always asked for."""
    assert _rarest({"b": 9, "a": 9, "unknown": 0, "rare": 1}) == ["rare", "a", "b"]
    assert _rarest({"common": 5000, "rare": 1}) == ["rare"]
    assert _rarest({"common": 5000}) == ["common"]
    assert _rarest({}) == []


def test_nothing_is_similar_to_nothing(tree: IndexedTree) -> None:
    """Unknown words and empty text."""
    assert similar_code(tree.reader, tree.workspace, "", "python", 3) == []
    assert similar_code(tree.reader, tree.workspace, "zzz_unknown", "python", 3) == []


def test_a_file_that_is_gone_is_not_similar(tree: IndexedTree, tmp_path: Path) -> None:
    """The index may be a moment behind."""
    assert similar_code(tree.reader, tmp_path, "load_settings(path)", "python", 3) == []
