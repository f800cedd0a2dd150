"""What Neovim shows: the grid that its UI events draw."""

from collections.abc import Sequence
from typing import Any

GHOST_RGB = 0x123456  # tests give this colour to ghost text, and to nothing else


class Screen:
    """One grid of cells, each a text and a highlight."""

    def __init__(self, width: int, height: int) -> None:
        self._cells: list[list[tuple[str, int]]] = []
        self._highlights: dict[int, Any] = {}
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Empty, of that size."""
        self._cells = [[(" ", 0)] * width for _ in range(height)]

    def redraw(self, batches: Sequence[Sequence[Any]]) -> None:
        """Follow a `redraw` notification."""
        for name, *calls in batches:
            for call in calls:
                self._follow(name, call)

    def lines(self) -> list[str]:
        """As text."""
        return ["".join(text for text, _ in row).rstrip() for row in self._cells]

    def ghost(self) -> list[str]:
        """The ghost text, a string for each line that has any."""
        shown = ["".join(text for text, highlight in row if self._is_ghost(highlight)) for row in self._cells]
        return [text for text in shown if text]

    def _follow(self, name: str, call: Sequence[Any]) -> None:
        if name == "grid_resize":
            self.resize(call[1], call[2])
        elif name == "grid_clear":
            self.resize(len(self._cells[0]), len(self._cells))
        elif name == "grid_line":
            self._write(call[1], call[2], call[3])
        elif name == "grid_scroll":
            self._scroll(*call[1:6])
        elif name == "hl_attr_define":
            self._highlights[call[0]] = call[1]

    def _write(self, row: int, column: int, cells: Sequence[Sequence[Any]]) -> None:
        highlight = 0
        for cell in cells:
            highlight = cell[1] if len(cell) > 1 else highlight
            for _ in range(cell[2] if len(cell) > 2 else 1):
                self._cells[row][column] = (cell[0], highlight)
                column += 1

    def _scroll(self, top: int, bottom: int, left: int, right: int, rows: int) -> None:
        order = range(top, bottom - rows) if rows > 0 else range(bottom - 1, top - rows - 1, -1)
        for row in order:
            self._cells[row][left:right] = self._cells[row + rows][left:right]

    def _is_ghost(self, highlight: int) -> bool:
        return bool(self._highlights.get(highlight, {}).get("foreground") == GHOST_RGB)
