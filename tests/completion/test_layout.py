"""Which order a prompt has."""

import pytest

from qcn_agent.completion import layout


@pytest.mark.parametrize(
    ("setting", "name", "expected"),
    [
        ("psm", "Qwen3-Coder-Next", "psm"),
        ("spm", "qcn-mini", "spm"),
        ("auto", "Qwen3-Coder-Next", "spm"),
        ("auto", "qcn-mini", "spm"),
        ("auto", "Another-Model 7B", "psm"),
        ("auto", "", "spm"),
    ],
)
def test_the_user_decides_else_what_is_known_of_the_model(
    setting: str, name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that are worse with the SPM-like order don't get it by themselves; the embedded one is none of them."""
    monkeypatch.setattr(layout, "WORSE_WITH_SPM", (*layout.WORSE_WITH_SPM, "another-model"))
    assert layout.choose(setting, {"general.name": name}) == expected
