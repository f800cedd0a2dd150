"""The picture of the plans."""

import xml.etree.ElementTree as ElementTree

from tests.bench.plan_svg import Bar, Group, picture

GROUPS = [
    Group("one & only", "150 ms", (Bar("cold", 100, "3 tokens"), Bar("typing", 1000, "12 tokens"))),
    Group("one & only", "350 ms", (Bar("cold", 500, "too late"), Bar("typing", 1000, "40 tokens"))),
    Group("other", "150 ms", (Bar("cold", 1, "x"), Bar("typing", 2, "y"))),
]


def test_bars_are_to_scale_and_labelled() -> None:
    """The longest fills the width; a machine's name stands once."""
    root = ElementTree.fromstring(picture(GROUPS, "Simulated"))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    widths = [float(e.get("width", "0")) for e in root.iter() if e.tag.endswith("rect") and e.get("height") == "12"]
    assert texts.count("one & only") == 1
    assert {"Simulated", "3 tokens", "too late", "150 ms", "other"} <= set(texts)
    bars = [width for width in widths if width != 12]
    assert max(bars) == bars[1] == 10 * bars[0]
