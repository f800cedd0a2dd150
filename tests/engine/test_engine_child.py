"""One child process: what is said to it, what it says, and how its end is described."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qcn_agent.config import ModelConfig, SchedulerConfig
from qcn_agent.engine import engine_child
from qcn_agent.engine.engine_child import EngineChild
from qcn_agent.engine.engine_messages import AskStatus, Cancel, Close, Failed, Load, Loaded, Progress, Status, error_of
from qcn_agent.engine.isolated_engine import ENGINE_PROCESS
from qcn_agent.errors import ModelNotFoundError

CONFIG = ModelConfig(n_ctx=512, max_states=4)


@pytest.fixture
def start() -> Iterator[Callable[[Path], EngineChild]]:
    """`start(path)`: a child that is told to load a model. What a test leaves running is killed."""
    children: list[EngineChild] = []

    def make(path: Path) -> EngineChild:
        children.append(EngineChild(ENGINE_PROCESS))
        children[-1].send(Load(CONFIG, str(path), SchedulerConfig()))
        return children[-1]

    yield make
    for child in children:
        child.kill()


def until_loaded(child: EngineChild) -> list[object]:
    """The first reports, Loaded the last of them; the stream stays open."""
    reports = child.reports()
    seen: list[object] = [next(reports)]
    while not isinstance(seen[-1], Loaded):
        seen.append(next(reports))
    return [*seen, reports]


def test_a_life_in_order(start: Callable[[Path], EngineChild], model_path: Path) -> None:
    """Progress, then what the model is, answers by number, and an end without a reason to worry."""
    child = start(model_path)
    *progress, loaded, reports = until_loaded(child)
    assert isinstance(loaded, Loaded)
    assert all(isinstance(report, Progress) for report in progress)
    assert (loaded.agent.n_ctx, loaded.status.engine_pid) == (512, child.pid)
    assert loaded.agent.metadata["general.architecture"] == "qwen3next"
    child.send(Cancel(99))  # of a generation that has ended long ago
    child.send(AskStatus(7))
    child.send(Close())
    assert isinstance(reports, Iterator)
    answer, *rest = reports
    assert isinstance(answer, Status)
    assert (answer.number, rest) == (7, [])
    death = child.wait()
    assert (death.pid, death.reason, death.entered) == (child.pid, "exit code 0", set())


def test_a_model_that_is_not_there(start: Callable[[Path], EngineChild], tmp_path: Path) -> None:
    """The error is the only report, and the child ends by itself."""
    child = start(tmp_path / "none.gguf")
    (report,) = child.reports()
    assert isinstance(report, Failed)
    assert report.number == 0
    assert type(error_of(report)) is ModelNotFoundError
    assert child.wait().reason == "exit code 2"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_child_that_is_killed(start: Callable[[Path], EngineChild], model_path: Path, number: signal.Signals) -> None:
    """The stream ends, the signal is named, and what is said to it afterwards is lost without an error."""
    child = start(model_path)
    *_, reports = until_loaded(child)
    os.kill(child.pid, number)
    assert isinstance(reports, Iterator)
    assert list(reports) == []
    child.send(AskStatus(1))
    assert child.wait().reason == number.name
    child.send(AskStatus(2))
    child.kill()


def test_it_leaves_no_descriptor(start: Callable[[Path], EngineChild], model_path: Path) -> None:
    """Socket and record are closed on our side when it is gone: restarts can go on for ever."""
    folder = Path("/dev/fd")
    before = len(list(folder.iterdir()))
    for _ in range(2):
        child = start(model_path)
        child.kill()
        list(child.reports())
        child.wait()
    assert len(list(folder.iterdir())) == before


def test_a_child_that_takes_nothing_is_ended(
    start: Callable[[Path], EngineChild], model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is halted and its socket full: whoever sends comes back all the same."""
    monkeypatch.setattr(engine_child, "_SEND_TIMEOUT_S", 1)
    child = start(model_path)
    until_loaded(child)
    os.kill(child.pid, signal.SIGSTOP)
    child.send_packed(bytes(1 << 24))
    child.send(Close())
    assert child.wait().reason == "SIGKILL"
