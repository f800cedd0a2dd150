"""What was read from the index, kept until the index changes."""

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """Values of one state of the index, at most `max_size` of them in whatever unit sizes are given.

    What was not asked for longest goes first.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size, self._size = max_size, 0
        self._state: object = None
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def keep_to(self, state: object) -> None:
        """What follows is about this state; of another one nothing is kept."""
        if state != self._state:
            self._values.clear()
            self._state, self._size = state, 0

    def get(self, key: Key) -> Value | None:
        """The value, if it is known."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Remember a value, instead of one that is known; one that is larger than all may be is not kept."""
        self._size -= self._values.pop(key, (None, 0))[1]
        if size > self._max_size:
            return
        self._values[key] = value, size
        self._size += size
        while self._size > self._max_size:
            self._size -= self._values.popitem(last=False)[1][1]
