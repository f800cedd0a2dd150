"""Where the reused part of a prompt came from."""

import enum
from dataclasses import dataclass


class Tier(enum.IntEnum):
    """Where a copy lies; the greater, the slower it comes back."""

    NONE = 0
    DEVICE = 1
    HOST = 2
    DISK = 3


@dataclass(frozen=True)
class Origin:
    """Tokens of KV by the tier that they were taken from, and the tier of the recurrent state (NONE: there is none)."""

    num_device_tokens: int = 0
    num_host_tokens: int = 0
    num_disk_tokens: int = 0
    state: Tier = Tier.NONE

    @property
    def slowest(self) -> Tier:
        """The slowest tier that gave anything."""
        counts = {
            Tier.DEVICE: self.num_device_tokens,
            Tier.HOST: self.num_host_tokens,
            Tier.DISK: self.num_disk_tokens,
        }
        return max(self.state, *(tier for tier, count in counts.items() if count), Tier.NONE)


NOWHERE = Origin()


def on_device(num_tokens: int, state: Tier = Tier.DEVICE) -> Origin:
    """The origin of a path whose KV the device still has."""
    return Origin(num_tokens, state=state) if num_tokens else NOWHERE
