"""What a file offers, without bodies."""

from pathlib import Path

from qcn_agent.context.signatures import MAX_DEFINITIONS, signature_order, signature_text
from qcn_agent.index.tags import Definition
from tests.fakes.packing import functions, workbench

SOURCE = '''"""Shapes."""

LIMIT = 3


class Shape(Base):
    """Something with an area."""

    def area(self, scale: float) -> float:
        """How large it is."""
        def helper():
            return 1
        return helper()


def draw(shape):
    return shape
'''


def text_of(tmp_path: Path, source: str) -> str:
    """The signatures of a file."""
    with workbench(tmp_path / "w", {"shapes.py": source}) as bench:
        return signature_text("shapes.py", bench.index.definitions_of(bench.tree.id_of("shapes.py")))


def test_signatures_stand_indented_with_what_documents_them(tmp_path: Path) -> None:
    """What lies in functions and what is no function or type is left out."""
    lines = text_of(tmp_path, SOURCE).splitlines()

    assert [line.strip().split("(")[0] for line in lines] == ["shapes.py", "class Shape", "def area", "def draw"]
    assert "Something with an area" in lines[1]
    assert lines[2].startswith("    ")
    assert not any("helper" in line or "LIMIT" in line for line in lines)


def test_edit_of_a_body_changes_nothing(tmp_path: Path) -> None:
    """No line numbers, no sizes: the head of a pack stays what it was."""
    longer = SOURCE.replace("        return helper()", "        x = 1\n        return helper() + x")

    assert text_of(tmp_path / "a", SOURCE) == text_of(tmp_path / "b", longer)


def test_file_with_too_many_says_how_many_more() -> None:
    """One file does not fill a head; one without definitions has no line at all."""
    many = [Definition(f"f{n}", "", "function", 0, 0, n, n, 0, f"def f{n}()", "") for n in range(MAX_DEFINITIONS + 5)]

    assert signature_text("a.py", many).endswith("  … 5 more\n")
    assert signature_text("a.py", []) == ""


def test_sources_come_before_tests_and_near_files_before_deep_ones(tmp_path: Path) -> None:
    """What is no code is not among them."""
    code = functions(1)
    files = {"tests/test_a.py": code, "deep/er/b.py": code, "z.py": code, "a.py": code, "notes.txt": "words"}
    with workbench(tmp_path / "w", files) as bench:
        order = [file.path for file in signature_order(bench.index.files())]

    assert order == ["a.py", "z.py", "deep/er/b.py", "tests/test_a.py"]
