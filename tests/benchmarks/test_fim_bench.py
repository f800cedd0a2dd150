"""Filling in lines with the embedded model."""

from collections.abc import Iterator

import pytest

from qcn_agent.completion.prompt import Layout
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
    answers, per_key = await measure(engine, 1)
    assert answers.keys() == DRAWS.keys()
    assert all(len(of.by_layout[layout]) == len(of.copied) == 1 for of in answers.values() for layout in LAYOUTS)
    assert per_key["spm"].value < per_key["psm"].value
    assert len(rows(answers)) == len(DRAWS) * 5
    assert len(gate_rows(answers, "psm")[0]) == 5


def found(num_psm: int, num_spm: int) -> dict[str, Found]:
    """Of ten answers in each order so many are right."""
    exact, wrong = Answer("x", "x"), Answer("y", "x")
    of = Found([HOLE] * 10)
    for order, num_right in (("psm", num_psm), ("spm", num_spm)):
        of.by_layout[order] = [*[exact] * num_right, *[wrong] * (10 - num_right)]  # type: ignore[index]
    return {"own": of}


@pytest.mark.parametrize(
    ("chosen", "num_psm", "num_spm", "is_met"),
    [("psm", 9, 3, True), ("psm", 5, 5, False), ("spm", 5, 5, True), ("spm", 5, 4, True), ("spm", 10, 1, False)],
)
def test_the_dearer_order_has_to_be_better(chosen: Layout, num_psm: int, num_spm: int, is_met: bool) -> None:
    """And the cheaper one not clearly worse."""
    per_key: dict[Layout, Mean] = {"psm": Mean(100.0, 90.0, 110.0, 9), "spm": Mean(5.0, 4.0, 6.0, 9)}
    (target,) = targets(found(num_psm, num_spm), per_key, chosen)
    assert target.is_met is is_met
