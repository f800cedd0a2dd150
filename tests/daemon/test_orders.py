"""What clients ask is checked before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest

from qcn_agent.daemon.orders import MAX_BUDGET, ContextOrder, FixOrder
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
        ({"issue": 5}, "issue is a int"),
        ({"workspace": None}, "workspace is a NoneType"),
        ({"budget": "1000"}, "budget is a str"),
        ({"budget": True}, "budget is a bool"),
        ({"budget": 1000.5}, "budget is a float"),
        ({"trusted": "/src"}, "trusted is a str"),
        ({"trusted": [1]}, "trusted is a list"),
        ({"with_tokens": 1}, "with_tokens is a int"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """As a usage error."""
    with pytest.raises(UsageError, match=message) as raised:
        ContextOrder.from_json(order(tmp_path, **changes))

    assert raised.value.hint


@pytest.mark.parametrize(
    "changes", [{"env": {"PATH": 1}}, {"env": ["PATH"]}, {"fix": "fast"}, {"seed": "1"}, {"keep": 1}]
)
def test_a_fix_order_of_other_types_is_no_internal_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    """It names the key and what belongs there."""
    with pytest.raises(UsageError, match=f"qcn/fix: {next(iter(changes))} is a") as raised:
        FixOrder.from_json({**order(tmp_path), "env": {}, "fix": {}, **changes})

    assert raised.value.hint.startswith("it must be ")
