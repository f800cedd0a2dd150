"""What was generated once answers again: at the same place, as it is typed, and after a part of it was accepted.

In memory only: no source text is written anywhere.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qcn_agent.completion.values import Snapshot

MAX_ENTRIES = 1000
TTL_S = 600.0
MAX_TYPED_CHARS = 256
_BEFORE_CHARS, _AFTER_CHARS = 2048, 512
_AUTO_CLOSED = ")]}\"'`"
_MAX_AUTO_CLOSED = 3
_Key = tuple[str, int, str, str]


@dataclass(frozen=True)
class CachedText:
    """`text` as the model gave it, stops applied. `is_whole`: the model had ended. `mean_logprob` of its first line."""

    text: str
    is_whole: bool
    mean_logprob: float | None = None
    is_speculative: bool = False


@dataclass(frozen=True)
class Hit:
    """An entry, and what is left of its text behind the `num_typed` characters that were typed or accepted since."""

    entry: CachedText
    rest: str
    num_typed: int


class CompletionCache:
    """Least recently used first out, at most `max_entries`, none older than `ttl_s`. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float], *, max_entries: int = MAX_ENTRIES, ttl_s: float = TTL_S) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._entries: OrderedDict[_Key, tuple[float, CachedText]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, snapshot: Snapshot, epoch: int, entry: CachedText) -> None:
        """Remember what follows the cursor. A longer text at the same place is not replaced by its own beginning."""
        key = _key(snapshot.uri, epoch, snapshot.before, snapshot.after)
        known = self._entries.get(key)
        if known and not entry.is_whole and known[1].text.startswith(entry.text) and self._is_fresh(known[0]):
            return
        self._entries[key] = (self._clock(), entry)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def get(self, snapshot: Snapshot, epoch: int) -> Hit | None:
        """What is known to follow the cursor; None when nothing is, or nothing is left of it.

        An entry without text is a hit at its own place only: the model had nothing to say there.
        """
        for num_typed in range(min(MAX_TYPED_CHARS, len(snapshot.before)) + 1):
            cut = len(snapshot.before) - num_typed
            for after in readings(snapshot.after) if num_typed else (snapshot.after,):
                hit = self._at(_key(snapshot.uri, epoch, snapshot.before[:cut], after), snapshot.before[cut:])
                if hit is not None:
                    return hit
        return None

    def _at(self, key: _Key, typed: str) -> Hit | None:
        found = self._entries.get(key)
        if found is None:
            return None
        if not self._is_fresh(found[0]):
            del self._entries[key]
            return None
        entry = found[1]
        rest = entry.text[len(typed) :]
        if not entry.text.startswith(typed) or (not rest and (typed or not entry.is_whole)):
            return None
        self._entries.move_to_end(key)
        return Hit(entry, rest, len(typed))

    def _is_fresh(self, since: float) -> bool:
        return self._clock() - since <= self._ttl_s


def _key(uri: str, epoch: int, before: str, after: str) -> _Key:
    return uri, epoch, before[-_BEFORE_CHARS:], after[:_AFTER_CHARS]


def readings(after: str) -> Iterator[str]:
    """The text behind the cursor, also without the brackets and quotes that an editor closes by itself."""
    yield after
    for length in range(1, _MAX_AUTO_CLOSED + 1):
        if len(after) < length or after[length - 1] not in _AUTO_CLOSED:
            return
        yield after[length:]
