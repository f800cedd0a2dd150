"""What clients ask is checked before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest

from qcn_agent.daemon.orders import MAX_BUDGET, ContextOrder
from qcn_agent.errors import UsageError


def order(folder: Path, **changes: Any) -> dict[str, Any]:
    """A context request."""
    return {"workspace": str(folder), "issue": "clamp is wrong", **changes}


def test_order_keeps_what_it_is_given(tmp_path: Path) -> None:
    """Defaults for the rest."""
    made = ContextOrder.from_json(order(tmp_path, budget=1000, trusted=["/src"], with_tokens=True))

    assert (made.budget, list(made.trusted), made.with_tokens, made.model) == (1000, ["/src"], True, "")
    assert ContextOrder.from_json(order(tmp_path)).budget == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"issue": " \n"}, "the issue is empty"),
        ({"workspace": "relative"}, "is not a directory"),
        ({"workspace": "/no/such/folder"}, "is not a directory"),
        ({"budget": 10}, "outside the range"),
        ({"budget": -1}, "outside the range"),
        ({"budget": MAX_BUDGET + 1}, "outside the range"),
        ({"buget": 1000}, r"unknown \['buget'\], missing \[\]"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """As a usage error."""
    with pytest.raises(UsageError, match=message) as raised:
        ContextOrder.from_json(order(tmp_path, **changes))

    assert raised.value.hint
