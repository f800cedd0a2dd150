"""Where the text before the cursor is cut: at places that do not move while one types.

The file is divided at marks, multiples of a grain of characters from its start. In each whole stretch between two marks
one line is chosen where a definition may begin, and only there may a window start. A split in front of a line that has
text is exact for tokenizers that never join a line end with the next line's text, which BPE ones of code models do not.
"""

_CLOSERS = ")]}"


def blocks(text: str, grain: int, num_marks: int) -> list[str]:
    """The last stretches of `text`, oldest first, at most `num_marks` + 2. `text` is whole lines.

    Joined they are the end of `text`, or all of it. While text is added at the end only the last one changes, or a new
    one begins; earlier ones stay.
    """
    last_mark = len(text) // grain
    first_mark = max(0, last_mark - num_marks)
    starts = [_aligned(text, mark * grain, (mark + 1) * grain) for mark in range(first_mark, last_mark)]
    cuts = [0, *starts] if first_mark == 0 else starts
    known = sorted({cut for cut in cuts if cut is not None})
    return [text[begin:end] for begin, end in zip(known, [*known[1:], len(text)], strict=True) if begin < end]


def _aligned(text: str, begin: int, end: int) -> int | None:
    """The start of the line in [begin, end) that a definition most likely begins at; None when no line starts there.

    The least indented one, a blank line before it if there is a choice, the first of those.
    """
    best: tuple[int, bool, int] | None = None
    at = begin if begin == 0 or text[begin - 1] == "\n" else text.find("\n", begin, end) + 1
    while 0 < at < end or at == begin == 0:
        stop = text.find("\n", at)
        line = text[at : len(text) if stop < 0 else stop]
        bare = line.lstrip(" \t")
        if bare and bare[0] not in _CLOSERS and stop >= 0:
            after_blank = text[:at].endswith("\n\n") if at < 2 else text[at - 2 : at] == "\n\n"
            rank = (len(line) - len(bare), not after_blank, at)
            best = rank if best is None or rank < best else best
        if stop < 0:
            break
        at = stop + 1
    return None if best is None else best[2]
