"""What became of completions that were shown: accepted whole or in part, typed over, refused, and how much was kept.

Editors of the stable API say only that a whole item was accepted (its `command`). The rest is read off the changes of
the document: text that appears at once where it was offered was accepted, text that appears a character at a time was
typed. Nothing but counts leaves this module.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import SequenceMatcher

FOLLOWED_S = 10.0  # after that a shown item is nobody's any more
SEEN_S = 0.25  # shorter on the screen it was not refused, only passed by
PROBES_S = (30.0, 120.0, 600.0)
MAX_FOLLOWED = 32  # shown items of one editor
MAX_PROBED = 256
_WINDOW_LINES = 100
_TOKEN = re.compile(r"\w+|[^\w\s]")

Count = Callable[[str, str, float], None]  # (language, event, amount)


@dataclass
class Shown:
    """One item: `text` offered at offset `begin` (code points) of version `version` of a document, behind `word`."""

    item_id: str
    uri: str
    language: str
    version: int
    begin: int
    text: str
    shown_at: float
    word: str = ""  # the letters right before it
    num_typed: int = 0  # code points of it that are there by now
    was_accepted: bool = False  # a part of it


@dataclass(frozen=True)
class Edit:
    """One piece of a change of a document: `removed` code points at `begin` gave way to `text`, in that line."""

    begin: int
    removed: int
    text: str
    line: int


@dataclass
class _Kept:
    uri: str
    language: str
    tokens: list[str]
    line: int
    accepted_at: float
    probes: list[float] = field(default_factory=lambda: list(PROBES_S))


class Acceptance:
    """Of one editor. `count(language, event, amount)` is told what happened."""

    def __init__(self, count: Count, clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._shown: dict[str, Shown] = {}
        self._kept: list[_Kept] = []

    def show(self, shown: Shown) -> None:
        """An item was sent. It takes the place of an older one of the same document that nobody has touched."""
        for other in [other for other in self._shown.values() if other.uri == shown.uri]:
            self._end(other, is_refusal=False)
        self._shown[shown.item_id] = shown
        self._count(shown.language, "shown", 1)
        while len(self._shown) > MAX_FOLLOWED:
            self._end(next(iter(self._shown.values())), is_refusal=False)

    def command(self, item_id: str, line: int = 0) -> None:
        """The editor says that the item was accepted whole."""
        shown = self._shown.pop(item_id, None)
        if shown is not None:
            self._accept(shown, "accepted", line)

    def change(self, uri: str, edit: Edit) -> None:
        """A document changed; call it once for each edit."""
        now = self._clock()
        for shown in [shown for shown in self._shown.values() if shown.uri == uri]:
            if now - shown.shown_at > FOLLOWED_S:
                self._end(shown, is_refusal=False)
            elif not self._follow(shown, edit):
                self._end(shown, is_refusal=now - shown.shown_at >= SEEN_S)

    def close(self, uri: str) -> None:
        """A document is closed: nothing more is known of it."""
        for shown in [shown for shown in self._shown.values() if shown.uri == uri]:
            self._end(shown, is_refusal=False)
        self._kept = [kept for kept in self._kept if kept.uri != uri]

    def probe(self, text_of: Callable[[str], str | None]) -> None:
        """See how much is left of what was accepted a while ago. Call it every few seconds."""
        now = self._clock()
        for kept in self._kept:
            while kept.probes and now - kept.accepted_at >= kept.probes[0]:
                after = kept.probes.pop(0)
                text = text_of(kept.uri)
                if text is not None:
                    self._count(kept.language, f"probed_{after:.0f}s", 1)
                    self._count(kept.language, f"kept_{after:.0f}s", share_kept(kept.tokens, text, kept.line))
        self._kept = [kept for kept in self._kept if kept.probes]

    def _follow(self, shown: Shown, edit: Edit) -> bool:
        """Whether the edit goes on with the item. What an editor puts in at once is accepted, not typed."""
        rest, cursor = shown.text[shown.num_typed :], shown.begin + shown.num_typed
        if edit.begin < edit.begin + edit.removed == cursor:
            edit = _without_word(edit, shown.word + shown.text[: shown.num_typed])
        if edit.begin != cursor or not edit.text or not rest.startswith(edit.text):
            return self._is_elsewhere(shown, edit)
        shown.num_typed += len(edit.text)
        if len(edit.text) > 1:
            shown.was_accepted = True
        if shown.num_typed == len(shown.text):
            del self._shown[shown.item_id]
            event = "accepted" if edit.text == shown.text else "accepted_in_parts"
            if shown.was_accepted:
                self._accept(shown, event, edit.line)
            else:
                self._count(shown.language, "typed", 1)
        return True

    @staticmethod
    def _is_elsewhere(shown: Shown, edit: Edit) -> bool:
        """An edit behind the item changes nothing; one before it moves it."""
        if edit.begin > shown.begin + shown.num_typed:
            return True
        if edit.begin + edit.removed < shown.begin:
            shown.begin += len(edit.text) - edit.removed
            return True
        return False

    def _end(self, shown: Shown, *, is_refusal: bool) -> None:
        self._shown.pop(shown.item_id, None)
        if shown.was_accepted:
            self._count(shown.language, "accepted_partly", 1)
            self._count(shown.language, "accepted_chars", shown.num_typed)
        elif is_refusal:
            self._count(shown.language, "refused", 1)
        else:
            self._count(shown.language, "passed_by", 1)

    def _accept(self, shown: Shown, event: str, line: int) -> None:
        self._count(shown.language, event, 1)
        self._count(shown.language, "accepted_chars", len(shown.text))
        tokens = _TOKEN.findall(shown.text)
        if tokens and len(self._kept) < MAX_PROBED:
            self._kept.append(_Kept(shown.uri, shown.language, tokens, line, self._clock()))


def _without_word(edit: Edit, before: str) -> Edit:
    """An edit up to the cursor that only puts in anew what stood `before` it, as editors with a list do, and more."""
    again = before[-edit.removed :]
    if len(again) < edit.removed or not edit.text.startswith(again):
        return edit
    return Edit(edit.begin + edit.removed, 0, edit.text[edit.removed :], edit.line)


def share_kept(tokens: list[str], text: str, line: int) -> float:
    """How much of `tokens` is still there, in order, around a line of a text: 0 to 1."""
    near = text.split("\n")[max(0, line - _WINDOW_LINES) : line + _WINDOW_LINES]
    matcher = SequenceMatcher(None, _TOKEN.findall("\n".join(near)), tokens, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(tokens)
