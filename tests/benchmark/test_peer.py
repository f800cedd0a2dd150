"""The peer's answers and log, parsed."""

import json
import os
import sys
from pathlib import Path

import pytest

from qcn_agent.benchmark.arms import Ask
from qcn_agent.benchmark.held import Held, Setup
from qcn_agent.benchmark.peer import Clock, PeerArm, held, is_installed, to_answer

LOG = """\
0.05 I slot create_check: id  3 | task 0 | created context checkpoint 1 of 32 (pos_min = 5483, size = 0.410 MiB)
0.06 I slot create_check: id  3 | task 0 | created context checkpoint 2 of 32 (pos_min = 5995, size = 0.410 MiB)
0.06 I srv        update:  - cache state: 1 prompts, 4.231 MiB (limits: 8192.000 MiB, 65536 tokens, 11623248 est)
0.06 I srv        update:    - prompt 0x7f7274132630:    6003 tokens, checkpoints:  2,     4.231 MiB
0.07 I slot create_check: id  1 | task 9 | created context checkpoint 1 of 32 (pos_min = 2543, size = 0.410 MiB)
0.07 I srv        update:  - cache state: 2 prompts, 6.993 MiB (limits: 8192.000 MiB, 65536 tokens, 10621086 est)
0.07 I srv        update:    - prompt 0x7f7274132630:    6003 tokens, checkpoints:  2,     4.231 MiB
0.07 I srv        update:    - prompt 0x7f727417aed0:    3063 tokens, checkpoints:  2,     2.762 MiB
0.08 I srv        update:  - cache state: 0 prompts, 0.000 MiB (limits: 8192.000 MiB, 65536 tokens, 10621086 est)
"""
TIMINGS = {"cache_n": 7, "prompt_n": 3, "predicted_n": 2}


def event(**fields: object) -> bytes:
    """A line of the stream."""
    return b"data: " + json.dumps(fields).encode() + b"\n"


class Counting(Clock):
    """A clock that ticks at each look."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        """One millisecond later."""
        self._now += 1
        return self._now


def test_memory_is_the_peak_of_slots_and_saved_prompts() -> None:
    """Checkpoints of two slots, and two saved prompts with their checkpoints and an end state each."""
    assert held(LOG.splitlines()) == Held(0, (2 + 1) + (3 + 3), 6003 + 3063)


def test_empty_log_holds_nothing() -> None:
    """So does one that is about something else."""
    assert held(["0.00 I srv init: initializing ..."]) == Held()


def test_answer_from_the_stream() -> None:
    """Tokens in order, counts from the server's own timings, times from ours."""
    lines = [event(tokens=[5], stop=False), b"\n", event(tokens=[6], stop=False)]
    lines.append(event(tokens=[], stop=True, timings=TIMINGS))
    answer = to_answer(lines, Counting(), wants_times=True)
    assert (answer.tokens, answer.num_evaluated, answer.num_cached) == ((5, 6), 3, 7)
    assert (answer.first_ms, answer.total_ms) == (1.0, 3.0)
    assert answer.times_ms == ((1.0, 1), (2.0, 2))
    assert answer.steps_waited is None


@pytest.mark.parametrize("lines", [[event(error={"code": 400})], [event(tokens=[5], stop=False)], []])
def test_failed_answers_are_errors(lines: list[bytes]) -> None:
    """An error of the server, and a stream that breaks off."""
    with pytest.raises(RuntimeError, match="llama-server"):
        to_answer(lines, Counting(), wants_times=False)


def test_missing_peer_is_noticed(tmp_path: Path) -> None:
    """An interpreter without the wheel."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')
    bare.chmod(0o755)
    assert not is_installed(str(bare))


def test_a_server_that_dies_says_why(tmp_path: Path) -> None:
    """Its last words are in the error, and no process is left."""
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho no such model >&2\nexit 3\n")
    dying.chmod(0o755)
    arm = PeerArm("peer", str(dying), Setup(tmp_path / "m.gguf", 2048, 1), {})
    with pytest.raises(RuntimeError, match="no such model"):
        arm.start()
    arm.close()


PYTHON = os.environ.get("QCN_PEER_PYTHON", sys.executable)


@pytest.mark.skipif(not is_installed(PYTHON), reason="needs the `bench` extra")
def test_a_real_llama_server(tmp_path: Path) -> None:
    """The second turn of a session is read from where the first ended; each session keeps its slot."""
    from tests.random_models import HybridShape, write_hybrid

    write_hybrid(tmp_path / "m.gguf", HybridShape(num_layers=4))
    flags = {"n_parallel": 2, "kv_unified": True}
    arm = PeerArm("peer", PYTHON, Setup(tmp_path / "m.gguf", 2048, 1), {**flags}, pins_slots=True)
    try:
        arm.start()
        first = arm.submit(Ask("a", tuple(range(300, 400)), 4)).result()
        second = arm.submit(Ask("a", (*range(300, 400), *first.tokens, 500), 4)).result()
    finally:
        arm.close()
    assert (first.num_evaluated, len(first.tokens)) == (100, 4)
    assert second.num_evaluated < 10
