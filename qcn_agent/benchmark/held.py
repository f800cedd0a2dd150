"""What is chosen for all sides of a comparison, what a side holds, and how much it may."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

MAX_DEVICE_STATES = 12
HOST_BYTES = 4 << 30
STATE_BYTES = int(75.4 * (1 << 20))  # of the 80B model
TOKEN_BYTES = 24 << 10


@dataclass(frozen=True)
class Setup:
    """What the benchmark chooses; the same numbers go to the peer."""

    path: Path
    n_ctx: int
    n_threads: int


@dataclass(frozen=True)
class Held:
    """What an engine holds beside its weights: recurrent states and tokens' KV, on the device and in host memory."""

    device_states: int = 0
    host_states: int = 0
    host_tokens: int = 0

    @property
    def host_bytes(self) -> int:
        """Host memory at the geometry of the 80B model."""
        return self.host_states * STATE_BYTES + self.host_tokens * TOKEN_BYTES

    @property
    def is_allowed(self) -> bool:
        """Whether this is within the limits of the benchmark."""
        return self.device_states <= MAX_DEVICE_STATES and self.host_bytes <= HOST_BYTES

    def most(self, other: "Held") -> "Held":
        """The greater number of device states, and what held more host memory."""
        host = max(self, other, key=lambda held: held.host_bytes)
        return dataclasses.replace(host, device_states=max(self.device_states, other.device_states))
