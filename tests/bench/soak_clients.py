"""The clients of the soak test: what they ask, and the ways in which they leave."""

import asyncio
import collections
import contextlib
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Finished, GenerationRequest, IntArray, Priority, SamplingParams
from qcn_agent.errors import QcnError

GREEDY = SamplingParams(temperature=0.0)
TOKENS = 300, 3800  # ordinary ones
MAX_PATH = 700
HEADS = 3  # conversations share these many beginnings


@dataclass(frozen=True)
class Answered:
    """A greedy answer that went to its end."""

    prompt: IntArray
    tokens: IntArray
    kind: str


class Crowd:
    """Clients over a dozen sessions. `errors` are those that no client should have met."""

    def __init__(self, engine: Engine, seed: int, num_sessions: int = 12) -> None:
        self.num_requests = 0
        self.done: collections.Counter[str] = collections.Counter()
        self.errors: list[str] = []
        self._engine = engine
        self._random = np.random.default_rng(seed)
        self._heads = [self._draw(120) for _ in range(HEADS)]
        self._paths = {f"s{n}": self._heads[n % HEADS] for n in range(num_sessions)}
        self._answered: list[Answered] = []
        self._actions: Mapping[str, tuple[float, Callable[[str], Awaitable[None]]]] = {
            "turn": (0.30, self._turn),
            "retry": (0.12, self._retry),
            "branch": (0.12, self._branch),
            "background": (0.06, self._background),
            "type": (0.15, self._type),
            "cancel": (0.12, self._cancel),
            "die": (0.06, self._die),
            "drop": (0.07, self._drop),
        }

    async def round(self, num_actions: int, num_clients: int) -> None:
        """So many random actions, by several clients at a time."""
        names = list(self._actions)
        shares = np.array([share for share, _ in self._actions.values()])
        chosen = [str(name) for name in self._random.choice(names, num_actions, p=shares / shares.sum())]

        async def client() -> None:
            while chosen:
                name = chosen.pop()
                self.done[name] += 1
                await self._actions[name][1](str(self._random.choice(list(self._paths))))

        await asyncio.gather(*(client() for _ in range(num_clients)))

    def sample(self, count: int) -> list[Answered]:
        """Some of the answers since the last call."""
        answered, self._answered = self._answered, []
        picked = self._random.permutation(len(answered))[:count]
        return [answered[int(index)] for index in picked]

    def _draw(self, count: int) -> IntArray:
        return self._random.integers(*TOKENS, count).astype(np.int32)

    def _request(self, session: str, prompt: IntArray, **changes: Any) -> GenerationRequest:
        num_new = int(self._random.integers(1, 24))
        return GenerationRequest(session, prompt, num_new, (120, len(prompt)), GREEDY, **changes)

    async def _ask(self, kind: str, request: GenerationRequest, *, leave_after: int | None = None) -> Finished | None:
        """Until the end, or for so many events. None: no answer, as it was left, superseded or failed."""
        self.num_requests += 1
        count = 0
        try:
            async with contextlib.aclosing(self._engine.generate(request)) as events:
                async for event in events:
                    count += 1
                    if isinstance(event, Finished):
                        if event.reason != "deadline":
                            self._answered.append(Answered(request.prompt, event.tokens, kind))
                        return event
                    if count == leave_after:
                        return None
        except QcnError as error:
            self.errors.append(f"{kind}: {error!r}")
        return None

    async def _turn(self, session: str) -> None:
        prompt = np.concatenate([self._paths[session], self._draw(int(self._random.integers(5, 120)))])
        finished = await self._ask("turn", self._request(session, prompt))
        if finished is not None:
            path = np.concatenate([prompt, finished.tokens])
            self._paths[session] = path if len(path) < MAX_PATH else path[:120]

    async def _retry(self, session: str) -> None:
        """The same again, or with another last message."""
        path = self._paths[session]
        prompt = path if self._random.random() < 0.5 else np.concatenate([path[:-5], self._draw(20)])
        await self._ask("retry", self._request(session, prompt))

    async def _branch(self, session: str) -> None:
        """Off any point of the past."""
        point = int(self._random.integers(1, len(self._paths[session]) + 1))
        prompt = np.concatenate([self._paths[session][:point], self._draw(30)])
        await self._ask("branch", self._request(session, prompt))

    async def _background(self, session: str) -> None:
        prompt = np.concatenate([self._heads[0], self._draw(60)])
        await self._ask("background", self._request(f"back-{session}", prompt, priority=Priority.BACKGROUND))

    async def _type(self, session: str) -> None:
        """A key every few milliseconds; each completion ends the one before. The last may have a deadline."""
        editor, prefix = f"editor-{session[-1]}", self._draw(80)
        deadline = 400.0 if self._random.random() < 0.3 else None
        asked = []
        for key in range(int(self._random.integers(1, 5))):
            prompt = np.concatenate([prefix, self._draw(key + 1), self._heads[1][:40]])
            request = self._request(editor, prompt, priority=Priority.COMPLETION, deadline_ms=deadline)
            asked.append(asyncio.create_task(self._ask("type", request)))
            await asyncio.sleep(float(self._random.exponential(0.02)))
        await asyncio.gather(*asked)

    async def _cancel(self, session: str) -> None:
        """Goes after a few events, or its task is cancelled at any moment."""
        prompt = np.concatenate([self._paths[session], self._draw(90)])
        if self._random.random() < 0.5:
            await self._ask("cancel", self._request(session, prompt), leave_after=int(self._random.integers(1, 4)))
            return
        task = asyncio.create_task(self._ask("cancel", self._request(session, prompt)))
        await asyncio.sleep(float(self._random.exponential(0.03)))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _die(self, session: str) -> None:
        """A client's whole loop goes away in the middle, without a word to the engine."""
        request = self._request(session, np.concatenate([self._paths[session], self._draw(40)]))
        self.num_requests += 1
        thread = threading.Thread(target=die, args=(self._engine, request))
        thread.start()
        await asyncio.to_thread(thread.join)

    async def _drop(self, session: str) -> None:
        self._engine.drop_session(session)
        self._paths[session] = self._paths[session][:120]


def die(engine: Engine, request: GenerationRequest) -> None:
    """Ask on a loop of one's own, take the first event, and be gone."""
    loop = asyncio.new_event_loop()
    events = engine.generate(request)
    loop.run_until_complete(anext(events))
    loop.close()
