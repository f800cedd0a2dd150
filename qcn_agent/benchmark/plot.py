"""Evaluated ÷ ideal as horizontal bars, in SVG."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP = 800, 90, 120, 84
BAR, GAP, GROUP_GAP = 16, 3, 16
MAX_SCALE = 6.0  # longer bars are cut off; their number says how long they are
COLOURS = ("#1f77b4", "#b0b0b0", "#7f7f7f")


def bars(ratios: Mapping[str, Mapping[str, float]], title: str) -> str:
    """An SVG document of `ratios`: side → trace → ratio. The line at 1 is the ideal."""
    sides = list(ratios)
    traces = list(dict.fromkeys(trace for side in sides for trace in ratios[side]))
    scale = min(MAX_SCALE, max([1.5, *(1.05 * value for side in sides for value in ratios[side].values())]))
    unit = (WIDTH - LEFT - RIGHT) / scale
    group = len(sides) * (BAR + GAP) + GROUP_GAP
    bottom = TOP + len(traces) * group
    parts = [_text(16, 26, title, size=15, weight="bold"), *_legend(sides), *_axis(scale, unit, bottom)]
    for row, trace in enumerate(traces):
        y = TOP + row * group
        parts.append(_text(LEFT - 8, y + (group - GROUP_GAP) / 2 + 4, trace, anchor="end"))
        for number, side in enumerate(sides):
            if trace in ratios[side]:
                parts += _bar(
                    y + number * (BAR + GAP), ratios[side][trace], scale, unit, COLOURS[number % len(COLOURS)]
                )
    size = f'width="{WIDTH}" height="{bottom + 34}" viewBox="0 0 {WIDTH} {bottom + 34}"'
    background = f'<rect width="{WIDTH}" height="{bottom + 34}" fill="white"/>'
    font = 'font-family="sans-serif" font-size="12"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>', background, *parts, "</svg>"]) + "\n"


def _legend(sides: Sequence[str]) -> list[str]:
    parts, x = [], float(LEFT)
    for number, side in enumerate(sides):
        parts.append(f'<rect x="{x:.0f}" y="42" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>')
        parts.append(_text(x + 17, 52, side))
        x += 40 + 7.5 * len(side)
    return parts


def _axis(scale: float, unit: float, bottom: float) -> list[str]:
    parts = []
    for number in range(int(scale) + 1):
        x = LEFT + number * unit
        style = 'stroke="#d62728" stroke-dasharray="4 3"' if number == 1 else 'stroke="#dddddd"'
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" {style}/>')
        parts.append(_text(x, bottom + 16, "1 = ideal" if number == 1 else str(number), anchor="middle"))
    return parts


def _bar(y: float, value: float, scale: float, unit: float, colour: str) -> list[str]:
    length = min(value, scale) * unit
    shown = f"{value:.2f}" if value < 100 else f"{value:.0f}"
    label = f"{shown} (cut off)" if value > scale else shown
    return [
        f'<rect x="{LEFT}" y="{y:.1f}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
        _text(LEFT + length + 5, y + BAR - 4, label),
    ]


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
