"""How long to wait after a key: less where a completion is likely wanted, and less than the pace of typing."""

from collections import deque
from collections.abc import Iterable
from enum import Enum
from statistics import mean

from qcn_agent.completion.values import Snapshot

MIN_MS, MAX_MS = 40.0, 400.0
_MAX_GAP_MS = 400.0  # a longer one is a pause, not a pace
_GAPS = 20
_DEFAULT_GAP_MS = 150.0
_HIGH, _LOW = 3.0, 0.5  # times the mean gap, from the least to the most promising place
_PATIENCE, _MAX_PATIENCE_MS = 2.0, 200.0  # mean gaps that somebody types on without an answer
_DOUBT, _MAX_DOUBTS = 5.0, 3  # times as long after each answer that was not what came, so many times at most
_TRIGGERS = tuple(".([{=:,")


class Edit(Enum):
    """What the user did since the request before."""

    TYPED = "typed"
    ACCEPTED = "accepted"
    DELETED = "deleted"
    MOVED = "moved"


def edit_between(old: Snapshot | None, new: Snapshot, shown: str = "") -> Edit:
    """What lies between two requests for one document; `shown` is the completion that the first one showed."""
    if old is None or old.uri != new.uri:
        return Edit.MOVED
    added = new.before[len(old.before) :] if new.before.startswith(old.before) else None
    if added is not None and added and len(added) > 1 and shown.startswith(added):
        return Edit.ACCEPTED
    if added:
        return Edit.TYPED
    if old.before.startswith(new.before) and len(new.before) < len(old.before) and new.after == old.after:
        return Edit.DELETED
    return Edit.MOVED


def promise(snapshot: Snapshot) -> float:
    """How likely a completion is wanted here, 0 to 1."""
    before, rest = snapshot.before, snapshot.line_after
    at_trigger = before.rstrip(" \t").endswith((*_TRIGGERS, "\n"))
    starts_block = not snapshot.line_before.strip() and before.rstrip().endswith((":", "{"))
    return 0.5 * at_trigger + 0.4 * (not rest.strip()) + 0.1 * starts_block


def delay_ms(edit: Edit, mean_gap_ms: float, ttft_ms: float, score: float, override_ms: float = -1.0) -> float:
    """Milliseconds to wait. `ttft_ms` is what the model takes anyway; an override of 0 or more holds for typing."""
    if edit is Edit.ACCEPTED:
        return 0.0
    if override_ms >= 0:
        return override_ms
    if edit is Edit.DELETED:
        return MAX_MS
    factor = _HIGH - (_HIGH - _LOW) * min(1.0, max(0.0, score))
    return min(MAX_MS, max(MIN_MS, factor * mean_gap_ms - ttft_ms))


def patience_ms(mean_gap_ms: float, num_wrong: int) -> float:
    """For how long keys without an answer may follow each other; then the model is asked though typing goes on.

    `num_wrong` is how often it was asked since a key last was what it had said.
    """
    return min(_MAX_PATIENCE_MS, _PATIENCE * mean_gap_ms) * _DOUBT ** min(num_wrong, _MAX_DOUBTS)


class TypingPace:
    """The mean gap between keys, of the last 20 gaps that were no pauses."""

    def __init__(self, gaps_ms: Iterable[float] = ()) -> None:
        self._gaps = deque(gaps_ms, maxlen=_GAPS)
        self._latest_s: float | None = None

    def key(self, now_s: float) -> None:
        """A key was pressed."""
        gap_ms = None if self._latest_s is None else 1e3 * (now_s - self._latest_s)
        if gap_ms is not None and 0 < gap_ms <= _MAX_GAP_MS:
            self._gaps.append(gap_ms)
        self._latest_s = now_s

    @property
    def mean_gap_ms(self) -> float:
        """Milliseconds; an average typist's before anything is known."""
        return mean(self._gaps) if self._gaps else _DEFAULT_GAP_MS
