"""Prompts that fit into a time, as horizontal bars in SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP = 860, 86, 230, 76
BAR, GAP, GROUP_GAP, HEAD = 12, 2, 10, 26
COLOURS = ("#b0b0b0", "#1f77b4")
_STEP = 500


@dataclass(frozen=True)
class Bar:
    """`length` in tokens; `label` stands behind it."""

    name: str
    length: float
    label: str


@dataclass(frozen=True)
class Group:
    """Bars of one row; rows of one `title` stand together under it."""

    title: str
    row: str
    bars: tuple[Bar, ...]


def picture(groups: Sequence[Group], title: str) -> str:
    """An SVG document. The axis is tokens of the prompt."""
    most = max(bar.length for group in groups for bar in group.bars)
    unit = (WIDTH - LEFT - RIGHT) / most
    body, y, latest = list[str](), float(TOP), ""
    for group in groups:
        if group.title != latest:
            latest, y = group.title, y + HEAD
            body.append(_text(16, y - 8, latest, weight="bold"))
        body.append(_text(LEFT - 8, y + BAR + 3, group.row, anchor="end"))
        for number, bar in enumerate(group.bars):
            body += _bar(y + number * (BAR + GAP), bar, unit, COLOURS[number])
        y += len(group.bars) * (BAR + GAP) + GROUP_GAP
    head = [_text(16, 26, title, size=14, weight="bold"), *_legend([bar.name for bar in groups[0].bars])]
    size = f'width="{WIDTH}" height="{y + 28:.0f}" viewBox="0 0 {WIDTH} {y + 28:.0f}"'
    font = 'font-family="sans-serif" font-size="12"'
    parts = [f'<rect width="{WIDTH}" height="{y + 28:.0f}" fill="white"/>', *head, *_axis(most, unit, y), *body]
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>', *parts, "</svg>"]) + "\n"


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], float(LEFT)
    for number, name in enumerate(names):
        parts.append(f'<rect x="{x:.0f}" y="42" width="12" height="12" fill="{COLOURS[number]}"/>')
        parts.append(_text(x + 17, 52, name))
        x += 40 + 7.5 * len(name)
    return [*parts, _text(x, 52, "bars: tokens of the prompt; behind them: tokens of the answer in time")]


def _axis(most: float, unit: float, bottom: float) -> list[str]:
    parts = []
    for tokens in range(0, int(most) + 1, _STEP):
        x = LEFT + tokens * unit
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom:.0f}" stroke="#dddddd"/>')
        parts.append(_text(x, bottom + 16, str(tokens), anchor="middle"))
    return parts


def _bar(y: float, bar: Bar, unit: float, colour: str) -> list[str]:
    length = bar.length * unit
    shape = f'<rect x="{LEFT}" y="{y:.1f}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>'
    return [shape, _text(LEFT + length + 5, y + BAR - 2, bar.label, size=11)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
