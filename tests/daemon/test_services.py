"""Runs through the daemon: events, refusals, cancelling, two at once."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from qcn_agent.agent import journal
from qcn_agent.config import Config, EngineConfig, ModelConfig
from qcn_agent.daemon import client
from qcn_agent.daemon.hosting import Say
from qcn_agent.daemon.orders import FixOrder
from qcn_agent.daemon.services import Services
from qcn_agent.errors import DaemonError, QcnError, UsageError
from qcn_prompts import load
from qcn_tools import jail
from qcn_tools.sandbox import probe
from tests.conftest import RIGHT, WRONG
from tests.fakes.host import ScriptedHost
from tests.fakes.scripted import ScriptedGenerator, call

READ = call("read_file", path="calc.py")
FIX = call("edit_file", path="calc.py", old_string=WRONG, new_string=RIGHT)
BREAK = call("edit_file", path="calc.py", old_string=WRONG, new_string="return low")
TESTS = call("run_tests")
Start = Callable[..., Any]


def order(project: Path, env: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    """A fix request as the command line sends it."""
    return {"workspace": str(project), "issue": "clamp is wrong", "env": dict(env), "fix": {}, **changes}


def connected() -> client.Client:
    """A connection that must exist."""
    connection = client.connect_to_running()
    assert connection is not None
    return connection


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until another process or thread has come so far."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_fix_over_the_wire(daemon: Start, project: Path, client_env: Mapping[str, str]) -> None:
    """Events come while the request is open, then the outcome; the engine may forget the conversation."""
    running = daemon(READ, FIX, TESTS, "done")
    events: list[Any] = []

    with connected() as connection:
        outcome = connection.request(
            "qcn/fix", order(project, client_env), lambda method, params: events.append((method, params["kind"]))
        )

    assert (outcome["ending"], outcome["exit_code"]) == ("fixed", 0)
    assert ("qcn/event", "tests") in events
    assert [kind for _, kind in events].count("call") == 3
    generator = running.host.engine
    assert {request.session for request in generator.requests} <= set(generator.dropped)


@pytest.mark.parametrize(
    "changes",
    [
        {"workspace": "relative"},
        {"workspace": "/no/such/folder"},
        {"issue": "  "},
        {"surprise": 1},
        {"run_id": "../../somewhere/else/a"},
        {"run_id": "20260101-000000"},
    ],
)
def test_wrong_order_is_a_usage_error(
    daemon: Start, project: Path, client_env: Mapping[str, str], changes: dict[str, Any]
) -> None:
    """What is wrong with a request is said, with exit code 2."""
    daemon()

    with connected() as connection, pytest.raises(UsageError) as caught:
        connection.request("qcn/fix", {**order(project, client_env), **changes})

    assert caught.value.exit_code == 2


def test_second_run_in_one_workspace_is_refused(
    daemon: Start, project: Path, client_env: Mapping[str, str], tmp_path: Path
) -> None:
    """Two runs would undo each other's work; another project is free."""
    slow = project / "tests" / "test_slow.py"
    slow.write_text("import time\n\n\ndef test_slow():\n    time.sleep(4)\n")
    daemon()
    started = threading.Event()

    def first() -> None:
        with connected() as connection:
            connection.request("qcn/fix", order(project, client_env, fix={"max_attempts": 1}), lambda *_: started.set())

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(30)
    with connected() as connection:
        for place in (project, project / "tests"):
            with pytest.raises(UsageError, match="another run"):
                connection.request("qcn/fix", order(place, client_env))
    thread.join(60)


STUBBORN = """
import pathlib
import signal
import time

from calc import clamp


def test_stubborn():
    if clamp(1, 0, 3) == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (pathlib.Path(__file__).parent / "trapped").touch()
        time.sleep(60)
"""


def test_interrupt_cancels_within_a_second_and_puts_back(
    daemon: Start, project: Path, client_env: Mapping[str, str]
) -> None:
    """Ctrl-C in the middle of a test run that ignores SIGTERM: the answer comes at once and the tree is as found."""
    (project / "tests" / "test_stubborn.py").write_text(STUBBORN)
    before = (project / "calc.py").read_bytes()
    daemon(READ, BREAK, TESTS)
    interrupted_at = 0.0

    def interrupt(_: str, event: Any) -> None:
        nonlocal interrupted_at
        if event["kind"] == "call" and event["data"]["tool"] == "run_tests":
            wait_for((project / "tests" / "trapped").exists)
            interrupted_at = time.monotonic()
            raise KeyboardInterrupt

    with connected() as connection:
        with pytest.raises(KeyboardInterrupt):
            connection.request("qcn/fix", order(project, client_env, fix={"command_s": 50.0}), interrupt)
        waited_s = time.monotonic() - interrupted_at
        assert (project / "calc.py").read_bytes() == before
        assert connection.request("qcn/status", {})["runs"] == []
    assert waited_s < 3  # a second, on a machine that has time


def test_client_that_dies_frees_the_workspace(daemon: Start, project: Path, client_env: Mapping[str, str]) -> None:
    """A killed terminal cancels its run; the tree is put back."""
    before = (project / "calc.py").read_bytes()
    running = daemon(READ, BREAK, TESTS)

    class GoneError(Exception):
        pass

    def hang_up(_: str, event: Any) -> None:
        if event["kind"] == "call" and event["data"]["tool"] == "run_tests":
            raise GoneError

    with connected() as connection, pytest.raises(GoneError):
        connection.request("qcn/fix", order(project, client_env), hang_up)

    wait_for(lambda: not running.services.status()["runs"])
    assert (project / "calc.py").read_bytes() == before


def test_stop_only_if_idle(daemon: Start, project: Path, client_env: Mapping[str, str]) -> None:
    """A busy daemon does not stop for a newcomer of another version."""
    daemon(READ, FIX, TESTS, "done")
    answers: list[bool] = []

    def ask(_: str, event: Any) -> None:
        if event["kind"] == "attempt":
            with connected() as other:
                answers.append(other.request("qcn/stop", {"if_idle": True})["stopping"])

    with connected() as connection:
        outcome = connection.request("qcn/fix", order(project, client_env), ask)

    assert answers == [False]
    assert outcome["ending"] == "fixed"


def test_model_of_the_order_reaches_the_host(daemon: Start, project: Path, client_env: Mapping[str, str]) -> None:
    """--model travels with the request."""
    running = daemon(READ, FIX, TESTS, "done")

    with connected() as connection:
        connection.request("qcn/fix", order(project, client_env, model="/models/big.gguf"))

    assert running.host.wanted == ["/models/big.gguf"]


def test_run_has_the_name_that_the_client_gave_it(daemon: Start, project: Path, client_env: Mapping[str, str]) -> None:
    """By it the client finds the journal, should the daemon die."""
    daemon(READ, FIX, TESTS, "done")
    run_id = journal.new_run_id()

    with connected() as connection:
        outcome = connection.request("qcn/fix", order(project, client_env, run_id=run_id))

    assert outcome["run_id"] == run_id
    assert (journal.journals_dir() / run_id / "run.json").is_file()


@pytest.mark.parametrize("fix", [{}, {"tests": "make check"}])
def test_without_a_sandbox_no_model_is_loaded(
    daemon: Start,
    project: Path,
    client_env: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    fix: dict[str, Any],
) -> None:
    """The refusal comes at once, with its exit code, whatever the test command is."""
    monkeypatch.setattr(jail, "landlock_abi", lambda: 0)
    running = daemon()

    with connected() as connection, pytest.raises(QcnError, match="Landlock") as caught:
        connection.request("qcn/fix", order(project, client_env, fix=fix))

    assert (caught.value.exit_code, running.host.wanted) == (5, [])
    assert "--unsandboxed" in caught.value.hint


def test_bad_settings_in_an_order_are_an_error_not_a_crash(
    daemon: Start, project: Path, client_env: Mapping[str, str]
) -> None:
    """A field that does not exist is answered, and the daemon goes on."""
    daemon()

    with connected() as connection:
        with pytest.raises(QcnError):
            connection.request("qcn/fix", order(project, client_env, fix={"no_such": 1}))
        assert connection.request("qcn/status", {})["runs"] == []


class SlowToEnd(ScriptedHost):
    """A host whose user, once cancelled, has something to finish, which a second cancellation would prevent."""

    def __init__(self) -> None:
        super().__init__(ScriptedGenerator([]))
        self.entered = asyncio.Event()
        self.may_end = asyncio.Event()
        self.num_cancels = 0
        self.ended = False

    @contextlib.asynccontextmanager
    async def use(self, path: str, say: Say) -> AsyncIterator[ScriptedHost]:
        """Never comes to the point."""
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.num_cancels += 1
            await self.may_end.wait()
            self.ended = True
            raise
        yield self


async def test_run_is_cancelled_once_and_waited_for(project: Path, client_env: Mapping[str, str]) -> None:
    """Ctrl-C, a hang-up, `stop` and the end of the daemon all at once: what the run puts back it puts back."""
    host = SlowToEnd()
    services = Services(Config(), host=host)
    wanted = FixOrder.from_json(order(project, client_env, unsandboxed=True))
    run = asyncio.create_task(services.fix(wanted, lambda _: None))
    await host.entered.wait()

    services.request_stop(if_idle=False)
    closing = asyncio.create_task(services.close())
    for _ in range(3):
        run.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
    assert not run.done()
    assert not closing.done()
    host.may_end.set()
    await closing

    assert (host.num_cancels, host.ended) == (1, True)
    with pytest.raises(asyncio.CancelledError):
        await run
    assert services.status()["runs"] == []


async def test_daemon_that_ends_takes_no_new_run(project: Path, client_env: Mapping[str, str]) -> None:
    """Who comes too late is told to try again."""
    services = Services(Config(), host=ScriptedHost(ScriptedGenerator([])))
    services.request_stop(if_idle=True)

    with pytest.raises(DaemonError, match="ending"):
        await services.fix(FixOrder.from_json(order(project, client_env)), lambda _: None)


async def test_memory_of_an_isolated_engine_counts() -> None:
    """The status adds what the model's own process holds."""
    services = Services(Config(model=ModelConfig(n_ctx=512), engine=EngineConfig("process")))
    before = services.status()["resident_bytes"]
    await services.host.load("", lambda _: None)
    status = services.status()
    await services.close()

    assert status["model"]["isolation"] == "process"
    assert status["resident_bytes"] > before + status["model"]["model_bytes"]


async def test_idle_daemon_ends_itself() -> None:
    """Without a client for so many seconds of its clock it stops."""
    now = [0.0]
    services = Services(Config(), clock=lambda: now[0])
    watching = asyncio.create_task(services.watch_idleness(poll_s=0))
    with services.client():
        now[0] = 10_000.0
        await asyncio.sleep(0.01)
        assert not services.stopping.is_set()
    now[0] += Config().daemon.idle_exit_s + 1
    await asyncio.wait_for(watching, 5)

    assert services.stopping.is_set()


def test_order_keeps_what_it_is_given(project: Path) -> None:
    """Defaults fill what is missing."""
    parsed = FixOrder.from_json(order(project, {"PATH": "/bin"}, seed=7))

    assert (parsed.seed, parsed.keep, parsed.model) == (7, False, "")


async def test_large_model_of_a_run_gets_context(project: Path, client_env: Mapping[str, str]) -> None:
    """From the workspace's index, through the host's own vocabulary; it ends with the daemon."""
    host = ScriptedHost(ScriptedGenerator([READ, FIX, TESTS, call("finish", summary="done")]))
    host.profile = load("qwen3_coder")
    services = Services(Config(), host=host)
    try:
        settings = {"ttft_budget_s": 400.0}
        wanted = order(project, client_env, fix=settings, unsandboxed=not probe().available)
        outcome = await services.fix(FixOrder.from_json(wanted), lambda _: None)
        workspaces = services.contexts.workspaces
    finally:
        await services.close()

    assert outcome.ending == "fixed"
    prompt = host.engine.prompts()[0]
    assert '<file path="calc.py">\n"""Small helpers."""\n' in prompt
    assert prompt.index("<repository>") < prompt.index("<code>") < prompt.index("<issue>")
    assert workspaces == [project.resolve()]
    assert services.contexts.workspaces == []
