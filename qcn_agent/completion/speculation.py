"""What is prepared while nobody waits: the completion after an accepted one, within a share of the model's time."""

from dataclasses import dataclass

from qcn_agent.completion.values import Completion, Snapshot

IDLE_S = 0.15
MAX_TOKENS = 96
SHARE = 0.3
_MEMORY_MS = 60_000.0  # of model time; what was longer ago counts less


@dataclass
class SpeculationBudget:
    """Milliseconds of the model for those who wait, and for guesses; the second at most `share` of the first."""

    share: float = SHARE
    waited_ms: float = 0.0
    guessed_ms: float = 0.0

    def add(self, ms: float, *, is_guess: bool) -> None:
        """Count a request that has ended."""
        if is_guess:
            self.guessed_ms += ms
        else:
            self.waited_ms += ms
        excess = (self.waited_ms + self.guessed_ms) / _MEMORY_MS
        if excess > 1:
            self.waited_ms, self.guessed_ms = self.waited_ms / excess, self.guessed_ms / excess

    @property
    def allows(self) -> bool:
        """Whether there is something left for guesses."""
        return self.guessed_ms < self.share * self.waited_ms


def accepted(snapshot: Snapshot, completion: Completion) -> Snapshot | None:
    """The document as if the completion had been accepted; None where it was cut and its rest is to come first."""
    return snapshot.with_text(completion.text) if completion.is_whole and completion.text else None
