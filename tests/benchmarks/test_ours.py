"""Our side: a real engine in a child process."""

from collections.abc import Iterator

import pytest

from qcn_agent.benchmark.arms import Ask
from qcn_agent.benchmark.held import Setup
from tests.bench.ours import OurArm, to_answer
from tests.random_models import HybridShape, write_hybrid

PROMPT = tuple(range(300, 400))


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OurArm]:
    """Running, on a small random hybrid."""
    folder = tmp_path_factory.mktemp("ours")
    write_hybrid(folder / "m.gguf", HybridShape(num_layers=4))
    running = OurArm(Setup(folder / "m.gguf", 2048, 1), folder / "home")
    running.start()
    yield running
    running.close()


def test_answer_counts_what_was_evaluated(arm: OurArm) -> None:
    """All of a new prompt; then the new token and the last one of the answer, which was never read."""
    first = arm.submit(Ask("count", PROMPT, 4, wants_times=True)).result()
    second = arm.submit(Ask("count", (*PROMPT, *first.tokens, 500), 4)).result()
    assert (first.num_evaluated, first.num_cached, len(first.tokens)) == (100, 0, 4)
    assert (second.num_evaluated, second.num_cached) == (2, 103)
    assert first.times_ms[-1][1] == 4
    assert first.chunks_ms
    assert second.times_ms == ()


def test_several_requests_at_once(arm: OurArm) -> None:
    """Each gets its own answer."""
    asked = [arm.submit(Ask(f"many{number}", (*PROMPT, 600 + number), number + 1)) for number in range(3)]
    assert [len(future.result().tokens) for future in asked] == [1, 2, 3]


def test_figures_and_memory(arm: OurArm) -> None:
    """Sequences and snapshots are counted, and the process has a size."""
    arm.submit(Ask("memory", PROMPT, 1)).result()
    assert arm.figures().held.device_states >= 1
    assert arm.memory().resident_mib > 10


def test_encode_uses_the_models_vocabulary(arm: OurArm) -> None:
    """A control token is one token where it may be one."""
    assert len(arm.encode("<|fim_prefix|>", True)) == 1
    assert len(arm.encode("<|fim_prefix|>", False)) > 1


def test_a_bad_request_is_an_error_of_its_own(arm: OurArm) -> None:
    """The engine goes on."""
    with pytest.raises(RuntimeError, match="exceed the context"):
        arm.submit(Ask("bad", PROMPT, 4000)).result()
    assert arm.submit(Ask("good", PROMPT, 1)).result().tokens


def test_kill_fails_what_is_on_its_way_and_start_brings_it_back(arm: OurArm) -> None:
    """As after a crash."""
    lost = arm.submit(Ask("lost", tuple(range(300, 1800)), 500))
    arm.kill()
    with pytest.raises(RuntimeError, match="has gone"):
        lost.result(10)
    with pytest.raises(RuntimeError, match="not running"):
        arm.submit(Ask("lost", PROMPT, 1))
    arm.start()
    assert arm.submit(Ask("back", PROMPT, 1)).result().num_cached == 0


def test_error_reply_is_raised() -> None:
    """With what the child said."""
    with pytest.raises(RuntimeError, match="boom"):
        to_answer({"id": 3, "error": "boom"})
