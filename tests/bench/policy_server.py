"""A llama-server-like engine on the loop's clock, as `editors.md` and `kv-reuse.md` of the research describe it.

One call serves all slots: a token of each answer under way and as much of the prompts as fits into 2048 tokens. Tasks
of another kind (infill, completion) wait until those under way have ended. A slot begins with what its prompt has in
common with what the slot holds; on a hybrid model only where the prompt goes on with all of it (no checkpoints for
infill, and those of completions lie behind the cursor). Nobody goes before anybody. A closed connection ends a task
after the call.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from qcn_agent.completion.prompt_memory import shared
from qcn_agent.completion.rates import Rates
from qcn_agent.engine.backend import Backend
from qcn_agent.engine.generator import IntArray
from qcn_agent.engine.text import LlamaVocabulary
from tests.bench.policy_engine import call_ms
from tests.bench.policy_oracle import Speak

N_BATCH = 2048
Kind = Literal["infill", "completion"]
StopAt = Callable[[str, float], int | None]  # (text so far, ms since the first token): where it ends, if it does


def never(text: str, ms: float) -> int | None:
    """No stop but the model's own end."""
    return None


@dataclass(eq=False)
class Task:
    """A request. `num_read` counts prompt tokens in the slot, `num_evaluated` all that were computed for it."""

    slot: int
    kind: Kind
    prompt: IntArray
    n_predict: int
    stop_at: StopAt
    num_read: int = -1  # it has not begun
    num_evaluated: int = 0
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    first_s: float = 0.0
    is_closed: bool = False  # nobody listens
    is_over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_agent(self) -> bool:
        """Whether it is not for an editor."""
        return self.slot != 0


class LlamaServer:
    """`run` is to be a task of the same loop. Slot 0 is the editor's."""

    def __init__(self, real: Backend, rates: Rates, *, is_hybrid: bool = True) -> None:
        self.vocabulary = LlamaVocabulary(real)
        self.rates = rates
        self.tasks: list[Task] = []
        self.speak: Speak = lambda path: int(path[-1])
        self._is_hybrid = is_hybrid
        self._slots: dict[int, IntArray] = {}
        self._waiting: list[Task] = []
        self._running: list[Task] = []
        self._wake = asyncio.Event()

    async def complete(
        self, slot: int, kind: Kind, prompt: IntArray, n_predict: int, stop_at: StopAt = never
    ) -> AsyncGenerator[str, None]:
        """The text so far, again and again until it is whole. Closing it ends the task."""
        task = Task(slot, kind, prompt, n_predict, stop_at)
        self.tasks.append(task)
        self._waiting.append(task)
        self._wake.set()
        try:
            while not task.is_over:
                await task.changed.wait()
                task.changed.clear()
                yield task.text
        finally:
            task.is_closed = True
            self._wake.set()

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._admit():
                await self._call()

    def _admit(self) -> bool:
        """Start those that may; whether any is under way."""
        self._waiting = [task for task in self._waiting if not task.is_closed]
        self._running = [task for task in self._running if not (task.is_closed or task.is_over)]
        for task in list(self._waiting):
            is_free = all(task.slot != other.slot for other in self._running)
            if is_free and all(task.kind == other.kind for other in self._running):
                self._waiting.remove(task)
                self._running.append(task)
                self._begin(task)
        return bool(self._running)

    def _begin(self, task: Task) -> None:
        held = self._slots.get(task.slot, np.empty(0, np.int32))
        common = min(shared(task.prompt, held), len(task.prompt) - 1)
        task.num_read = common if not self._is_hybrid or common == len(held) else 0

    async def _call(self) -> None:
        """One call, and what comes of it."""
        room, parts = N_BATCH, list[tuple[Task, int]]()
        for task in sorted(self._running, key=lambda task: not task.tokens):  # answers before prompts
            size = 1 if task.tokens else min(room, len(task.prompt) - task.num_read)
            room -= size
            if size:
                parts.append((task, size))
        await asyncio.sleep(call_ms(self.rates, sum(size for _, size in parts)) / 1e3)
        for task, size in parts:
            task.num_evaluated += size
            if not task.tokens:
                task.num_read += size
            if task.num_read == len(task.prompt):
                self._say(task)

    def _say(self, task: Task) -> None:
        now_s = asyncio.get_running_loop().time()
        task.first_s = task.first_s or now_s
        path = np.concatenate([task.prompt, np.array(task.tokens, np.int32)])
        self._slots[task.slot] = path
        token = self.speak(path)
        task.tokens.append(token)
        is_end = self.vocabulary.is_end(token)
        with contextlib.suppress(IndexError):
            task.text = self.vocabulary.decode(np.array(task.tokens[: len(task.tokens) - is_end], np.int32))
        cut = task.stop_at(task.text, 1e3 * (now_s - task.first_s))
        task.text = task.text if cut is None else task.text[:cut]
        task.is_over = is_end or cut is not None or len(task.tokens) >= task.n_predict
        task.changed.set()
