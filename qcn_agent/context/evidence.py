"""Evidence of one kind for some files, each piece with a reason that a person can check."""

from collections.abc import KeysView


class Evidence:
    """A value for each file, 0 .. 1 or more, and the reasons for it, strongest first."""

    def __init__(self) -> None:
        self._pieces: dict[int, dict[str, float]] = {}

    def add(self, file_id: int, value: float, reason: str) -> None:
        """A piece; of several with the same reason the strongest counts."""
        pieces = self._pieces.setdefault(file_id, {})
        pieces[reason] = max(pieces.get(reason, 0.0), value)

    def file_ids(self) -> KeysView[int]:
        """Files with a piece."""
        return self._pieces.keys()

    def strongest(self, file_id: int) -> float:
        """The largest piece's value, 0 without one."""
        pieces = self._pieces.get(file_id)
        return max(pieces.values()) if pieces else 0.0

    def total(self, file_id: int) -> float:
        """All pieces together, below 1: x / (1 + x)."""
        pieces = self._pieces.get(file_id)
        total = sum(sorted(pieces.values())) if pieces else 0.0
        return total / (1 + total)

    def reasons(self, file_id: int, limit: int = 3) -> list[str]:
        """The strongest pieces' reasons."""
        pieces = self._pieces.get(file_id)
        if not pieces:
            return []
        return [reason for reason, _value in sorted(pieces.items(), key=lambda item: (-item[1], item[0]))[:limit]]
