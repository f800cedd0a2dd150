"""An index for each workspace, kept by the daemon; its loop never waits for one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from qcn_agent import paths
from qcn_agent.context.pack import Pack
from qcn_agent.daemon import contexts
from qcn_agent.daemon.contexts import Contexts
from qcn_agent.engine.generator import IntArray
from qcn_agent.errors import DaemonError, IndexingError
from tests.fakes.indexed import write_tree
from tests.fakes.packing import functions
from tests.fakes.scripted import ByteVocabulary

VOCABULARY = ByteVocabulary()


@pytest.fixture
async def kept() -> AsyncIterator[Contexts]:
    """Closed at the end."""
    made = Contexts()
    yield made
    await made.close()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two files."""
    root = tmp_path / "w"
    write_tree(root, {"alpha.py": functions(3, "alpha_"), "beta.py": functions(3, "beta_")})
    return root


async def packed(kept: Contexts, root: Path, said: list[str] | None = None) -> Pack:
    """A pack about alpha."""
    say = (said if said is not None else []).append
    return await kept.pack(root, VOCABULARY, "alpha_1 is wrong in alpha.py", 4000, (), say)


def text(pack: Pack) -> str:
    """What it says."""
    return VOCABULARY.decode(pack.tokens)


async def test_pack_follows_the_files(kept: Contexts, workspace: Path) -> None:
    """The index is opened once and in line with the tree each time."""
    said: list[str] = []
    first = text(await packed(kept, workspace, said))
    (workspace / "alpha.py").write_text(functions(3, "alpha_").replace("x0 = 0", "x0 = 4711"))

    second = text(await packed(kept, workspace))

    assert "def alpha_1(" in first
    assert "x0 = 4711" in second
    assert kept.workspaces == [workspace]
    assert said[-1] == "choosing what to read"
    assert [file.name.split("-")[0] for file in paths.token_cache_dir().glob("*.db")] == [paths.project_tag(workspace)]


async def test_requests_of_one_workspace_take_turns(kept: Contexts, workspace: Path) -> None:
    """And give the same."""
    packs = await asyncio.gather(*(packed(kept, workspace) for _ in range(3)))

    assert len({pack.tokens.tobytes() for pack in packs}) == 1


async def test_only_so_many_indexes_stay_open(kept: Contexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not used for longest is closed, and opened again when it is asked for."""
    monkeypatch.setattr(contexts, "MAX_OPEN", 2)
    roots = [tmp_path / name for name in "abc"]
    for root in roots:
        write_tree(root, {"alpha.py": functions(2, "alpha_")})
    for root in (*roots[:2], roots[0], roots[2]):
        await packed(kept, root)

    assert kept.workspaces == [roots[0], roots[2]]
    assert "def alpha_1(" in text(await packed(kept, roots[1]))


class Slow(ByteVocabulary):
    """Waits in the middle of its work."""

    def __init__(self) -> None:
        self.entered, self.may_go_on = threading.Event(), threading.Event()

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> IntArray:
        """Says that it was asked."""
        self.entered.set()
        assert self.may_go_on.wait(30)
        return super().encode(pieces)


async def test_loop_goes_on_and_cancelling_waits_for_the_vocabulary(kept: Contexts, workspace: Path) -> None:
    """The model may be closed as soon as the request has ended, so nothing may use it then."""
    slow = Slow()
    task = asyncio.create_task(kept.pack(workspace, slow, "alpha", 4000, (), lambda _: None))
    await asyncio.to_thread(slow.entered.wait, 30)

    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    slow.may_go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_does_not_want_to_wait_is_told(kept: Contexts, workspace: Path) -> None:
    """The index is worked on meanwhile, and is there for the next one."""
    with pytest.raises(IndexingError, match="still being built"):
        await kept.pack(workspace, VOCABULARY, "alpha", 4000, (), lambda _: None, patience_s=0.0)

    assert "def alpha_1(" in text(await packed(kept, workspace))


async def test_after_the_end_there_is_no_index(workspace: Path) -> None:
    """Who comes too late is told to try again; closing twice is harmless."""
    kept = Contexts()
    await packed(kept, workspace)
    await kept.close()
    await kept.close()

    with pytest.raises(DaemonError, match="ending"):
        await packed(kept, workspace)
    assert kept.workspaces == []
