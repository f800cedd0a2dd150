"""Scanning the files of the corpus."""

import gzip
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from qcn_agent.training import source_file
from qcn_agent.training.source_file import SourceFile


def test_functions_and_methods_are_found(corpus_file: SourceFile) -> None:
    """Usable functions are listed with their place; too short ones and reserved names are not."""
    found = [(function.name, function.class_name) for function in corpus_file.functions]
    assert found == [("first_words", ""), ("__init__", "Store"), ("keep", "Store")]


def test_spans_are_the_lines_of_the_function(corpus_file: SourceFile) -> None:
    """Lines are counted from 1, both ends included."""
    function = corpus_file.functions[0]
    lines = corpus_file.text.split("\n")[function.first_line - 1 : function.last_line]
    assert lines[0].startswith("def first_words(") and lines[-1] == "    return words[:count]"


def test_reserved_functions_are_cut(corpus_file: SourceFile) -> None:
    """The lines of a benchmark program must not be seen as running text either."""
    text = corpus_file.text.split("\n")
    assert any(text[first - 1].startswith("def quicksort") for first, _ in corpus_file.cuts)


def test_held_out_functions_are_cut(tmp_path: Path) -> None:
    """A function is either trained on or cut."""
    bodies = "\n\n".join(
        f"def f{i}(a, b):\n    c = a + {i}\n    d = b * {i}\n    return c + d + a * b - {i}" for i in range(200)
    )
    (tmp_path / "many.py").write_text(bodies + "\n")
    file = source_file.scan("stdlib", tmp_path / "many.py", "many.py")
    assert file is not None
    held_out = [(f.first_line, f.last_line) for f in file.functions if f.held_out]
    assert 0 < len(held_out) < 20
    assert sorted(held_out) == list(file.cuts)


def test_digests_ignore_names_strings_and_layout() -> None:
    """The same program in other words has the same digest, another program has another."""
    one = source_file.digest("def f(a):\n    # note\n    return a + 'x'")
    two = source_file.digest("def g(bb):\n    return bb  +  'yy'")
    three = source_file.digest("def f(a):\n    return a - 'x'")
    assert one == two != three


@pytest.mark.parametrize(
    "text",
    ["x = 1\n", "def broken(:\n" * 30, "if True:\n\tx = 1\n" * 30, f"x = '{'a' * 400}'\n" * 5],
)
def test_unusable_files_are_left_out(tmp_path: Path, text: str) -> None:
    """Tiny, broken, tabbed and generated files are no corpus."""
    path = tmp_path / "odd.py"
    path.write_bytes(text.encode())
    assert source_file.scan("stdlib", path, "odd.py") is None


def test_files_that_are_not_utf8_are_left_out(tmp_path: Path) -> None:
    """Latin-1 is skipped, not guessed."""
    path = tmp_path / "latin.py"
    path.write_bytes(b"# \xe9\n" * 100)
    assert source_file.scan("stdlib", path, "latin.py") is None


def test_a_corpus_comes_back_as_it_was_written(tmp_path: Path, corpus_file: SourceFile) -> None:
    """One JSON object a line, compressed."""
    path = tmp_path / "corpus.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.write(json.dumps(asdict(corpus_file)) + "\n")
    assert source_file.load(path) == [corpus_file]
