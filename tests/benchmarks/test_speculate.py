"""The benchmark of speculation asks both arms the same and divides the right way round."""

import json

import pytest

from qcn_agent.engine.generator import Usage
from tests.bench import speculate

BUG = json.loads(speculate.BUGS.read_text(encoding="utf-8").splitlines()[0])


def test_the_prompt_is_a_fix_run_that_has_read_the_file() -> None:
    """It holds issue, path and text, nothing of the golden bug, and ends where the model is to speak."""
    source = BUG["files"][BUG["path"]]
    prompt = speculate.edit_prompt(BUG, source, speculate.GOLDEN.read_text(encoding="utf-8"))
    assert prompt.endswith("<|im_start|>assistant\n")
    assert all(part in prompt for part in (BUG["issue"], BUG["path"], source))
    assert "max(low, value)" not in prompt
    assert "calc.py\n</parameter>" not in prompt


def test_the_ratio_is_above_one_where_speculation_is_faster() -> None:
    """Ten tokens in 50 ms are twice as fast as ten in 100 ms."""
    off, auto = Usage(num_generated_tokens=10, decode_ms=100), Usage(num_generated_tokens=10, decode_ms=50)
    assert speculate.rate(off) == pytest.approx(100)
    assert speculate.Pair(off, auto, True).ratio == pytest.approx(2)


def test_a_row_says_how_much_was_drafted_and_accepted() -> None:
    """A generated token each; and how many answers were the same."""
    off = Usage(num_generated_tokens=10, decode_ms=100)
    auto = Usage(num_generated_tokens=10, decode_ms=50, num_drafted_tokens=8, num_accepted_tokens=5)
    pairs = [speculate.Pair(off, auto, True), speculate.Pair(off, auto, False)]
    row = speculate.row("edit", pairs)
    assert row == ["edit", 2, 10, "100", "200", "2.000 [2.000, 2.000]", "0.80", "0.50", "1"]
