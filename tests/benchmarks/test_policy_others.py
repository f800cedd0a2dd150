"""The policies that ours is compared with: when they ask, what they show."""

import asyncio

import pytest

from qcn_agent.completion.rates import straight
from qcn_agent.completion.values import Snapshot
from qcn_agent.engine.backend import Backend
from qcn_agent.engine.text import LlamaVocabulary
from tests.bench.policy_oracle import Recording, Speaker
from tests.bench.policy_others import OTHERS
from tests.bench.policy_screen import Screen
from tests.bench.policy_server import LlamaServer, Task
from tests.bench.typing_traces import Passage, Press
from tests.fakes.virtual_time import run

PASSAGE = Passage("import os\n\n", "result = compute(first, second)\nreturn result", "\n\nlast = 1\n")


def at(num_chars: int, after: str = PASSAGE.after) -> Snapshot:
    """So much of the passage typed."""
    return Snapshot("file:///a.py", "a.py", "python", 1, PASSAGE.before + PASSAGE.text[:num_chars], after)


def typed(
    real: Backend, name: str, keys: list[tuple[float, int]], after: str = PASSAGE.after
) -> tuple[list[Task], Screen]:
    """(Seconds to wait, characters typed then) for each key; then two seconds pass."""

    async def main() -> tuple[list[Task], Screen]:
        server = LlamaServer(real, straight(2000.0, 10.0))
        end = next(token for token in range(real.n_vocab) if real.is_end(token))
        recording = Recording(PASSAGE)
        server.speak = Speaker(recording, LlamaVocabulary(real), end)
        screen = Screen(recording)
        policy = OTHERS[name](server, screen)
        task = asyncio.create_task(server.run())
        for wait_s, num_chars in keys:
            await asyncio.sleep(wait_s)
            snapshot = at(num_chars, after)
            screen.press(Press(0.0, snapshot.before), snapshot)
            policy.key(snapshot)
        await asyncio.sleep(2.0)
        task.cancel()
        return server.tasks, screen

    return run(main())


@pytest.mark.parametrize(
    ("name", "least_ms", "most_ms"),
    [("llama.vim-like", 10, 300), ("Continue-like", 350, 730), ("Tabby-like", 100, 700)],
)
def test_each_answers_a_pause(real: Backend, name: str, least_ms: float, most_ms: float) -> None:
    """With the right text, after its own debounce."""
    _, screen = typed(real, name, [(0.0, 5)])
    assert screen.visible.startswith("t = compute(first, second)")
    assert least_ms < screen.replies[0].reply_ms < most_ms


@pytest.mark.parametrize(("name", "most"), [("Continue-like", 1), ("Tabby-like", 1), ("llama.vim-like", 3)])
def test_a_burst_asks_as_often_as_its_rules_say(real: Backend, name: str, most: int) -> None:
    """Those with a debounce once, the one without at once and again."""
    tasks, _ = typed(real, name, [(0.05, length) for length in range(1, 9)])
    assert 1 <= len(tasks) <= most


def test_llama_vim_prepares_what_follows_an_acceptance(real: Backend) -> None:
    """The second request begins where the first answer ends, and accepting costs nothing."""
    tasks, screen = typed(real, "llama.vim-like", [(0.0, 5), (1.0, len(PASSAGE.text))])
    assert len(tasks) == 2
    assert screen.num_stale == 0


def test_llama_vim_stays_away_from_the_middle_of_a_line(real: Backend) -> None:
    """More than eight characters right of the cursor."""
    assert typed(real, "llama.vim-like", [(0.0, 5)], after=" + something_else\n")[0] == []


def test_continue_uses_a_stream_on(real: Backend) -> None:
    """The key typed meanwhile is what it says."""
    tasks, screen = typed(real, "Continue-like", [(0.0, 5), (0.40, 6)])
    assert len(tasks) == 1
    assert screen.visible.startswith(" = compute")


def test_tabby_ends_the_request_before(real: Backend) -> None:
    """A key during the answer."""
    tasks, _ = typed(real, "Tabby-like", [(0.0, 5), (0.40, 6)])
    assert len(tasks) == 2
    assert tasks[0].is_closed
    assert len(tasks[0].tokens) < len(tasks[1].tokens)
