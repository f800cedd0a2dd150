"""The drawing: an SVG whose bars are as long as what they show."""

import xml.etree.ElementTree as ElementTree

import pytest

from qcn_agent.benchmark.plot import COLOURS, LEFT, MAX_SCALE, RIGHT, WIDTH, bars

SVG = "{http://www.w3.org/2000/svg}"


def rectangles(svg: str, colour: str) -> list[float]:
    """Widths of the bars in a colour, without the legend's."""
    root = ElementTree.fromstring(svg)
    found = [rect for rect in root.iter(f"{SVG}rect") if rect.get("fill") == colour]
    return [float(rect.attrib["width"]) for rect in found[1:]]


def texts(svg: str) -> list[str]:
    """What can be read."""
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_bars_are_as_long_as_their_values() -> None:
    """From 0, on one scale; each has its number and its trace's name."""
    svg = bars({"ours": {"agent": 1.0, "heads": 2.0}, "theirs": {"agent": 4.0}}, "A < B")
    one, two = rectangles(svg, COLOURS[0])
    (four,) = rectangles(svg, COLOURS[1])
    assert (two, four) == pytest.approx((2 * one, 4 * one), abs=0.2)
    assert {"agent", "heads", "ours", "theirs", "1.00", "2.00", "4.00", "1 = ideal", "A < B"} <= set(texts(svg))


def test_a_bar_too_long_is_cut_off_and_says_so() -> None:
    """Its number is the real one."""
    svg = bars({"ours": {"branch": 1.5}, "theirs": {"branch": 27.8}}, "")
    (cut,) = rectangles(svg, COLOURS[1])
    assert cut == pytest.approx(WIDTH - LEFT - RIGHT, abs=0.1)
    assert rectangles(svg, COLOURS[0])[0] == pytest.approx(cut * 1.5 / MAX_SCALE, abs=0.1)
    assert "27.80 (cut off)" in texts(svg)


def test_labels_stay_inside() -> None:
    """The longest one, beside the longest bar, at 7.5 units a letter."""
    svg = bars({"theirs": {"branch": 39.99}}, "")
    label = next(text for text in ElementTree.fromstring(svg).iter(f"{SVG}text") if "cut off" in (text.text or ""))
    assert float(label.attrib["x"]) + 7.5 * len(label.text or "") <= WIDTH


def test_names_are_text() -> None:
    """Markup in a model's name is shown, not obeyed."""
    assert "<script>&" in texts(bars({"a": {"b": 1.0}}, "<script>&"))
