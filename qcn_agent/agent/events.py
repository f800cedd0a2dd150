"""What a run tells its watcher while it goes on: small, serialisable, in order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["phase", "tests", "attempt", "text", "call", "observation", "usage", "restored", "note", "warning"]


@dataclass(frozen=True)
class RunEvent:
    """One thing that happened. `data` holds JSON values only."""

    kind: Kind
    data: Mapping[str, Any] = field(default_factory=dict)


Emit = Callable[[RunEvent], None]
