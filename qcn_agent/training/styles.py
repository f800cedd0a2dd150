"""How a function is written down: docstring, comments, type hints, quotes, indentation."""

import random
import re
from dataclasses import dataclass
from typing import Literal

from qcn_agent.training import wordlists


@dataclass(frozen=True)
class Style:
    """One way of writing, shared by the functions of a file."""

    rename_rate: float
    hints: bool
    docstring: Literal["none", "line", "paragraph"]
    doc_tail: str
    comment: bool  # the description as a comment where there is no docstring
    class_gap: bool
    quote: str
    indent: int

    @classmethod
    def draw(cls, rng: random.Random) -> "Style":
        """A style by how usual it is."""
        return cls(
            rename_rate=rng.choice((0.0, 0.3, 0.7)),
            hints=rng.random() < 0.2,
            docstring=rng.choice(("none", "line", "line", "line", "paragraph")),
            doc_tail=rng.choice(wordlists.DOC_TAILS),
            comment=rng.random() < 0.3,
            class_gap=rng.random() < 0.7,
            quote='"' if rng.random() < 0.8 else "'",
            indent=4 if rng.random() < 0.97 else 2,
        )


def styled(body: str, doc: str, style: Style) -> str:
    """`body` (double quotes, four spaces, no docstring) written in `style`."""
    lines = body.split("\n")
    if style.hints and lines[0].startswith("def "):
        lines[0] = re.sub(r"(?<=[(\s])(\w+)(?=[,)])", _hinted, lines[0])
    if style.docstring != "none":
        gap = [""] if lines[0].startswith("class") and style.class_gap else []
        lines[1:1] = _docstring(doc, style) + gap
    elif style.comment:
        lines[0:0] = ["# " + doc]
    text = "\n".join(lines)
    if style.quote == "'" and "\\" not in body and "'" not in body:
        text = re.sub(r'(?<!")"([^"\'\\\n]*)"(?!")', r"'\1'", text)
    if style.indent == 2:
        text = re.sub(r"(?m)^( +)", _halved, text)
    return text


def _hinted(match: re.Match[str]) -> str:
    hint = wordlists.TYPE_HINTS.get(match[1])
    return f"{match[1]}: {hint}" if hint else match[1]


def _halved(match: re.Match[str]) -> str:
    width = len(match[1])
    return " " * (width // 2 if width % 4 == 0 else width)


def _docstring(doc: str, style: Style) -> list[str]:
    quotes = style.quote * 3
    if style.docstring == "line":
        return [f"    {quotes}{doc}{quotes}"]
    return [f"    {quotes}{doc}", "", f"    {style.doc_tail}", f"    {quotes}"]
