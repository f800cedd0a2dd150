"""What an editor shows while a passage is typed, and what of it was of use.

Text goes on being shown as it is typed through, as editors do. *Useful*: up to its first line end it is exactly what is
typed next, three visible characters of it or to the end of the line.
"""

import asyncio
from dataclasses import dataclass, field

from qcn_agent.completion.values import Snapshot
from tests.bench.policy_oracle import Recording
from tests.bench.typing_traces import Press

_VISIBLE = 3


@dataclass(frozen=True)
class Shown:
    """A reply: to which text before the cursor, what, how long after its key."""

    before: str
    text: str
    reply_ms: float


@dataclass
class Screen:
    """`press` at each key, `show` and `hide` from the policy."""

    recording: Recording
    snapshot: Snapshot | None = None
    visible: str = ""
    replies: list[Shown] = field(default_factory=list)
    num_keys: int = 0  # slips aside
    num_useful: int = 0  # keys after which something useful was shown before the next one
    num_stale: int = 0  # replies to a text that is another by now
    useful_ms: float = 0.0
    total_ms: float = 0.0
    _at_s: float = 0.0  # of the latest change
    _pressed_s: float = 0.0
    _is_slip: bool = True
    _is_useful: bool = False

    def turn_to(self, recording: Recording) -> None:
        """Another file is opened."""
        self.close()
        self.recording, self.snapshot, self.visible = recording, None, ""

    def press(self, press: Press, snapshot: Snapshot) -> None:
        """A key changes the text."""
        self._settle()
        self.num_useful += self._is_useful
        self.num_keys += not press.is_slip
        typed = press.before[len(self.snapshot.before) :] if self.snapshot else ""
        goes_on = bool(typed) and press.before[: -len(typed)] == getattr(self.snapshot, "before", None)
        self.visible = self.visible[len(typed) :] if goes_on and self.visible.startswith(typed) else ""
        self.snapshot, self._is_slip, self._is_useful = snapshot, press.is_slip, False
        self._pressed_s = _now()

    def show(self, snapshot: Snapshot, text: str) -> None:
        """A reply to `snapshot` arrives."""
        if self.snapshot is None or snapshot.before != self.snapshot.before:
            self.num_stale += 1
            return
        self._settle()
        self.visible = text
        if text:
            self.replies.append(Shown(snapshot.before, text, 1e3 * (_now() - self._pressed_s)))

    def close(self) -> None:
        """Nothing is typed any more."""
        self._settle()
        self.num_useful += self._is_useful
        self._is_useful = False

    def _settle(self) -> None:
        """Count the time since the latest change."""
        spent_ms = 1e3 * (_now() - self._at_s)
        self._at_s = _now()
        if self.snapshot is None or self._is_slip:
            return
        self.total_ms += spent_ms
        if spent_ms > 0 and self._is_right(self.snapshot.before):
            self.useful_ms += spent_ms
            self._is_useful = True

    def _is_right(self, before: str) -> bool:
        first = self.visible.lstrip("\n").partition("\n")[0]
        first = self.visible[: self.visible.find(first) + len(first)]
        is_enough = len("".join(first.split())) >= _VISIBLE or self.recording.is_right(before, first + "\n")
        return bool(first.strip()) and is_enough and self.recording.is_right(before, first)


@dataclass(frozen=True)
class Generation:
    """What the model said to one request: the end of the text before its cursor, what it said, how many tokens."""

    tail: str
    text: str
    num_tokens: int


def num_unseen_tokens(generations: list[Generation], replies: list[Shown]) -> float:
    """Tokens that were generated and never shown, by the share of characters."""
    return sum(one.num_tokens * (1 - _seen_share(one, replies)) for one in generations)


def _seen_share(one: Generation, replies: list[Shown]) -> float:
    if not one.text:
        return 0.0
    return max((_num_seen(one, reply) for reply in replies), default=0) / len(one.text)


def _num_seen(one: Generation, reply: Shown) -> int:
    """Characters of a generation that a reply shows, which may stand behind what was typed of it since."""
    at = reply.before.rfind(one.tail)
    if at < 0:
        return 0
    typed = reply.before[at + len(one.tail) :]
    if not one.text.startswith(typed) or len(typed) >= len(one.text):
        return 0
    rest = one.text[len(typed) :]
    num_same = next((n for n, (a, b) in enumerate(zip(rest, reply.text, strict=False)) if a != b), None)
    return (len(typed) + (min(len(rest), len(reply.text)) if num_same is None else num_same)) if num_same != 0 else 0


def _now() -> float:
    return asyncio.get_running_loop().time()
