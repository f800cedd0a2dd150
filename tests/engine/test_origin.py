"""Where the reused part of a prompt came from."""

import pytest

from qcn_agent.engine.origin import NOWHERE, Origin, Tier, on_device


@pytest.mark.parametrize(
    ("origin", "slowest"),
    [
        (NOWHERE, Tier.NONE),
        (Origin(10, state=Tier.DEVICE), Tier.DEVICE),
        (Origin(10, state=Tier.HOST), Tier.HOST),
        (Origin(10, 5, state=Tier.DEVICE), Tier.HOST),
        (Origin(10, 0, 5, state=Tier.HOST), Tier.DISK),
    ],
)
def test_the_slowest_part_names_the_origin(origin: Origin, slowest: Tier) -> None:
    """KV and state count alike."""
    assert origin.slowest is slowest


def test_nothing_on_the_device_is_nowhere() -> None:
    """An empty path has no origin, whatever its state."""
    assert on_device(0) is NOWHERE
    assert on_device(7, Tier.HOST) == Origin(7, state=Tier.HOST)
