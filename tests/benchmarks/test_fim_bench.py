"""Filling in lines with the embedded model."""

from collections.abc import Iterator

import pytest

from qcn_agent.config import ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.models.embedded import embedded_model_path
from tests.bench.fim_bench import LAYOUTS, Found, gate_rows, measure, rows, shown, snapshot_of, targets
from tests.bench.fim_holes import DRAWS, Hole
from tests.bench.fim_score import Answer
from tests.bench.stats import Mean

HOLE = Hole("def f(a, b):\n    return ", "a + b", "\n")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The embedded model, small."""
    config = ModelConfig(n_ctx=4096, n_threads=1, max_states=6, disk_cache_mb=0, host_cache_mb=0)
    loaded = Engine.load(config, embedded_model_path())
    yield loaded
    loaded.close()


def test_the_document_lacks_the_rest_of_the_line() -> None:
    """But for what is typed."""
    assert snapshot_of(HOLE).before + "|" + snapshot_of(HOLE).after == "def f(a, b):\n    return |\n"
    assert snapshot_of(HOLE, 3).line_before == "    return a +"


def test_filters_and_the_gate_may_leave_nothing() -> None:
    """A doubtful answer is offered where the gate is open."""
    doubtful = Answer("a * b", HOLE.rest, -1.2)
    assert shown(doubtful, HOLE, -0.9).text == ""
    assert shown(doubtful, HOLE, -2.0).text == "a * b"
    assert shown(Answer("a", HOLE.rest, -0.1), HOLE).text == ""


async def test_all_sources_are_asked_in_both_orders(engine: Engine) -> None:
    """Whatever the model says: each hole has an answer, and keys cost fewer tokens with the suffix first."""
    found, per_key = await measure(engine, 1)
    assert found.keys() == DRAWS.keys()
    assert all(len(of.by_layout[layout]) == len(of.copied) == 1 for of in found.values() for layout in LAYOUTS)
    assert per_key["spm"].value < per_key["psm"].value
    assert len(rows(found)) == len(DRAWS) * 5
    assert len(gate_rows(found, "psm")[0]) == 5


@pytest.mark.parametrize(
    ("num_psm", "num_spm", "is_met"), [(2, 1, True), (1, 1, False), (1, 2, False)], ids=["better", "equal", "worse"]
)
def test_the_dearer_order_has_to_be_better(num_psm: int, num_spm: int, is_met: bool) -> None:
    """By exact lines."""
    exact, wrong = Answer("x", "x"), Answer("y", "x")
    of = Found([HOLE] * 2)
    of.by_layout = {"psm": [*[exact] * num_psm, wrong], "spm": [*[exact] * num_spm, wrong]}
    per_key = {"psm": Mean(100.0, 90.0, 110.0, 9), "spm": Mean(5.0, 4.0, 6.0, 9)}
    (target,) = targets({"own": of}, per_key, "psm")
    assert target.is_met is is_met
