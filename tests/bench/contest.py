"""What all parts of the engine benchmark share: the sides, how much to measure, and the form of a result."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcn_agent.benchmark.arms import Arm, Memory
from qcn_agent.benchmark.held import Setup
from qcn_agent.benchmark.peer import DEFAULT, TUNED, PeerArm
from tests.bench.ours import OurArm
from tests.bench.report import Target

OURS, PEER, TUNED_PEER = "ours", "llama-server", "tuned"


@dataclass(frozen=True)
class Row:
    """A line of the table: a cell for each side that was measured, and what they held."""

    trace: str
    measure: str
    cells: Mapping[str, str]
    memory: Mapping[str, Memory] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """The result of one part: lines, targets, and numbers for other programs."""

    rows: Sequence[Row]
    targets: Sequence[Target]
    numbers: Any = None


@dataclass(frozen=True)
class Contest:
    """The sides and how much to measure. `peer_python` is the interpreter that has `xllamacpp`; None: no peer."""

    setup: Setup
    seed: int
    is_quick: bool
    folder: Path
    peer_python: str | None

    @property
    def num_samples(self) -> int:
        """Samples of a timing, where time allows."""
        return 40 if self.is_quick else 500

    @property
    def limit_s(self) -> float:
        """Seconds that one timing may take, all sides together."""
        return 40.0 if self.is_quick else 420.0

    def home(self) -> Path:
        """An empty folder for an engine's files."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def ours(self, home: Path | None = None) -> OurArm:
        """Our side, not started."""
        return OurArm(self.setup, home or self.home())

    def peers(self, **flags: Any) -> list[PeerArm]:
        """The peer as it starts and well tuned, not started; `flags` go to both."""
        if self.peer_python is None:
            return []
        return [
            PeerArm(PEER, self.peer_python, self.setup, {**DEFAULT, **flags}),
            PeerArm(TUNED_PEER, self.peer_python, self.setup, {**TUNED, **flags}, pins_slots=True),
        ]


@contextlib.contextmanager
def running(arms: Sequence[Arm]) -> Iterator[None]:
    """Start all; stop all, come what may."""
    with contextlib.ExitStack() as stack:
        for arm in arms:
            stack.callback(arm.close)
            arm.start()
        yield
