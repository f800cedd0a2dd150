"""What the index knows for a cursor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qcn_agent.completion.sources import IndexSources
from qcn_agent.index.index import Index
from tests.fakes.cursor import at
from tests.fakes.indexed import write_tree

FILES = {
    "shapes.py": 'class Circle:\n    """A round one."""\n\n    def area(self):\n        return 3 * self.radius\n',
    "twins.py": "def area_of_all(circles):\n    return sum(circle.area() for circle in circles)\n",
    "app.py": "def area_of_all(circles): ...\n",
}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """A small indexed workspace."""
    write_tree(tmp_path / "w", FILES)
    opened = Index.open(tmp_path / "w", folder=tmp_path / "db", num_workers=1, watch=False)
    opened.refresh(timeout_s=60)
    yield opened
    opened.close()


async def test_definitions_of_names_near_the_cursor_come_with_their_document_line(index: Index) -> None:
    """Signature and doc; nothing of the file itself."""
    blocks = await IndexSources(index)(at("x = Circle(1)\nx.area()\ny = ¦\n"))

    texts = {block.text for block in blocks if block.path == "shapes.py"}
    assert any(text.startswith("class Circle") and "A round one." in text for text in texts)
    assert all(block.path != "app.py" for block in blocks)


async def test_similar_code_is_found(index: Index) -> None:
    """In other files of the language."""
    blocks = await IndexSources(index)(at("def all_areas(circles):\n    return sum(circle.area() for¦\n"))

    assert "twins.py" in {block.path for block in blocks}


async def test_text_has_no_sources(index: Index) -> None:
    """No grammar, no names."""
    assert list(await IndexSources(index)(at("Circle ¦", "notes.txt", "plaintext"))) == []
