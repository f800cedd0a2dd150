"""One completer a workspace and model; loading, context and counting happen beside the keys."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qcn_agent import paths
from qcn_agent.completion.tally import Tally
from qcn_agent.completion.values import Snapshot, Trigger
from qcn_agent.config import CompletionConfig, Config
from qcn_agent.daemon.completions import Completions
from qcn_agent.daemon.contexts import Contexts
from tests.fakes.host import ScriptedHost
from tests.fakes.scripted import ScriptedGenerator


class Clock:
    """Moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


class Desk:
    """Completions over a scripted model."""

    def __init__(self, root: Path, *turns: str, config: Config | None = None) -> None:
        self.root = root
        self.is_busy = False
        self.clock = Clock()
        self.host = ScriptedHost(ScriptedGenerator(turns))
        self.contexts = Contexts()
        self.completions = Completions(
            self.host, self.contexts, config or Config(), self.clock, is_busy=lambda: self.is_busy
        )

    async def ask(
        self, path: str = "a.py", before: str = "def double(value):\n    return ", trigger: Trigger = Trigger.INVOKED
    ) -> str:
        """What is shown; asked for, unless said otherwise, so without a debounce."""
        snapshot = Snapshot((self.root / path).as_uri(), path, "python", 1, before, "\n")
        made = await self.completions.complete("editor", self.root, snapshot, trigger)
        return made.text if made else ""


@pytest.fixture
async def desks(tmp_path: Path) -> AsyncIterator[list[Desk]]:
    """Those that a test makes; all are stopped."""
    made: list[Desk] = []
    yield made
    for desk in made:
        await desk.completions.stop()
        await desk.contexts.close()


async def test_the_first_key_begins_a_load_and_no_key_waits(
    tmp_path: Path, desks: list[Desk], monkeypatch: Any
) -> None:
    """Another load is not tried for a minute."""
    desk = Desk(tmp_path, "value * 2")
    desks.append(desk)
    with monkeypatch.context() as patch:
        patch.setattr(desk.host, "loaded", lambda: None)
        assert [await desk.ask() for _ in range(2)] == ["", ""]
        await asyncio.sleep(0)
        desk.clock.now += 61
        await desk.ask()
        await asyncio.sleep(0)
    assert desk.host.wanted == ["", ""]
    assert await desk.ask() == "value * 2"


async def test_who_asks_waits_for_the_model_and_who_types_does_not(
    tmp_path: Path, desks: list[Desk], monkeypatch: Any
) -> None:
    """The load that a key has begun is the one that is waited for."""
    desk = Desk(tmp_path, "value * 2")
    desks.append(desk)
    may_end, model = asyncio.Event(), desk.host.loaded()

    async def load(path: str, say: Any) -> Any:
        desk.host.wanted.append(path)
        await may_end.wait()
        return model

    monkeypatch.setattr(desk.host, "load", load)
    monkeypatch.setattr(desk.host, "loaded", lambda: model if may_end.is_set() else None)
    assert await desk.ask(trigger=Trigger.AUTOMATIC) == ""
    asking = asyncio.create_task(desk.ask())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()
    may_end.set()
    assert await asking == "value * 2"
    assert desk.host.wanted == [""]


async def test_another_model_gets_another_completer(tmp_path: Path, desks: list[Desk]) -> None:
    """What the one before had generated is not shown as the new one's."""
    desk = Desk(tmp_path, "value * 2")
    desks.append(desk)
    assert await desk.ask() == "value * 2"
    assert await desk.ask() == "value * 2"
    old = desk.host
    desk.host = desk.completions._host = ScriptedHost(ScriptedGenerator(["value + value"]))
    assert await desk.ask() == "value + value"
    assert len(old.engine.requests) == 1


async def test_switched_off_nothing_is_loaded(tmp_path: Path, desks: list[Desk]) -> None:
    """Nor asked."""
    desk = Desk(tmp_path, "x", config=Config(completion=CompletionConfig(enabled=False)))
    desks.append(desk)
    assert await desk.ask() == ""
    assert (desk.host.wanted, desk.host.engine.requests) == ([], [])
    assert desk.completions.status()["enabled"] is False


async def test_in_calm_the_agent_has_the_machine_for_itself(tmp_path: Path, desks: list[Desk]) -> None:
    """Nothing comes by itself while it works; what is asked for does."""
    desk = Desk(tmp_path, "value * 2", config=Config(completion=CompletionConfig(calm=True, debounce_ms=0)))
    desks.append(desk)
    desk.is_busy = True
    assert await desk.ask(trigger=Trigger.AUTOMATIC) == ""
    assert desk.host.engine.requests == []
    assert await desk.ask() == "value * 2"


async def test_an_ignored_file_is_not_read(tmp_path: Path, desks: list[Desk]) -> None:
    """Neither to be completed, nor as context for others."""
    (tmp_path / ".qcnignore").write_text("hidden.py\n")
    desk = Desk(tmp_path, "value * 2")
    desks.append(desk)
    assert await desk.ask("hidden.py") == ""
    desk.completions.edited(tmp_path, "hidden.py", "", "password = 1\n", 0)
    desk.completions.visited(tmp_path, "hidden.py", "password = 1\n", 0)
    assert desk.completions._tasks == set()
    assert desk.host.engine.requests == []


async def test_after_a_pause_edits_become_context(tmp_path: Path, desks: list[Desk]) -> None:
    """What was done in another file is offered to the next prompts, as far as they have room."""
    (tmp_path / "a.py").write_text("x = 1\n")
    desk = Desk(tmp_path, "value * 2")
    desks.append(desk)
    await desk.ask()
    desk.completions.opened(tmp_path, "other.py")
    await asyncio.wait(set(desk.completions._tasks))
    desk.completions.edited(tmp_path, "other.py", "old = 1\n", "renamed_everywhere = 1\n", 0)
    desk.clock.now += 10
    await asyncio.wait(set(desk.completions._tasks))
    (status,) = desk.completions.status()["folders"].values()
    assert (status["context_epoch"], status["num_context_blocks"]) == (1, 1)


async def test_only_folders_that_were_opened_are_indexed(tmp_path: Path, desks: list[Desk]) -> None:
    """A lone file may lie in somebody's home."""
    (tmp_path / "b.py").write_text("def helper_of_mine(value):\n    return value\n")
    desk = Desk(tmp_path, "value * 2")
    desks.append(desk)
    ring = desk.completions._folder(tmp_path).ring
    snapshot = Snapshot("file:///a.py", "a.py", "python", 1, "helper_of_mine(", "")
    await desk.ask()
    assert await ring.refresh(snapshot, desk.clock.now) is False
    assert desk.contexts.workspaces == []
    desk.completions.add_projects([tmp_path])
    async with desk.contexts.index(tmp_path, lambda _: None):
        pass
    assert await ring.refresh(snapshot, desk.clock.now) is True
    assert any("helper_of_mine" in block.text for block in ring.context.blocks)


async def test_counts_are_written_at_the_end(tmp_path: Path, desks: list[Desk]) -> None:
    """In the state directory."""
    desk = Desk(tmp_path, "value * 2")
    desk.completions.tally.count("python", "shown")
    await desk.completions.stop()
    assert [row.event for row in Tally(paths.state_dir() / "completions.db").rows()] == ["shown"]
