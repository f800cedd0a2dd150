"""One policy, one passage, typed at a pace: what it showed and what it cost, on a clock that only waits move."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from collections.abc import Sequence as Several
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from qcn_agent.completion.prompt import ContextBlock
from qcn_agent.completion.rates import Rates
from qcn_agent.completion.ring import ContextRing
from qcn_agent.completion.service import Completer
from qcn_agent.completion.values import Snapshot, Trigger
from qcn_agent.config import CompletionConfig
from qcn_agent.engine.backend import Backend
from qcn_agent.engine.generator import GenerationRequest, Priority
from qcn_agent.engine.sequence import Sequence
from tests.bench.policy_engine import SimEngine
from tests.bench.policy_oracle import TAIL_CHARS, Recording, Speaker, an_end
from tests.bench.policy_others import OTHERS, Policy
from tests.bench.policy_screen import Generation, Screen, num_unseen_tokens
from tests.bench.policy_server import LlamaServer
from tests.bench.typing_traces import presses

Load = Literal["idle", "writes", "reads"]  # what an agent does meanwhile
OURS = ("ours", "ours-psm")
POLICIES = (*OURS, *OTHERS)
_HIT_MS = 2.0
_READ_TOKENS, _WRITE_TOKENS = 8192, 4000


@dataclass(frozen=True)
class Scene:
    """What is typed, how fast, by what machine, beside what."""

    recording: Recording
    gap_ms: float
    rates: Rates
    seed: int = 0
    load: Load = "idle"
    is_hybrid: bool = True
    settings: dict[str, object] = field(default_factory=dict)  # of our own [completion]
    context: tuple[ContextBlock, ...] = ()  # from other files, for ours only
    more: tuple[Recording, ...] = ()  # typed in other files afterwards, for ours only


@dataclass(frozen=True)
class Outcome:
    """Sums over passages. Times are of replies, from their key."""

    num_keys: int = 0
    num_useful: int = 0
    useful_ms: float = 0.0
    total_ms: float = 0.0
    num_stale: int = 0
    num_evaluated: int = 0
    num_generated: int = 0
    num_unseen: float = 0.0
    num_starts: int = 0
    reply_ms: tuple[float, ...] = ()
    hit_ms: tuple[float, ...] = ()
    steps_after_cancel: tuple[int, ...] = ()
    first_ms: tuple[float, ...] = ()  # from asking the engine to the first token; ours only, as all below
    num_requests: int = 0
    num_refused: int = 0
    num_passed: int = 0
    num_in_budget: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Outcome") -> "Outcome":
        """Both."""
        return Outcome(*(one + two for one, two in zip(_values(self), _values(other), strict=True)))


def _values(outcome: Outcome) -> list[Any]:
    return list(vars(outcome).values())


async def replay(policy: str, scene: Scene, real: Backend) -> Outcome:
    """Type the passage. To be run on a `VirtualLoop`."""
    return await (_ours if policy in OURS else _other)(policy, scene, real)


async def _ours(policy: str, scene: Scene, real: Backend) -> Outcome:
    engine = SimEngine(real, scene.rates, is_hybrid=scene.is_hybrid)
    screen = Screen(scene.recording)
    settings = {"layout": "psm" if policy == "ours-psm" else "spm", **scene.settings}
    config = CompletionConfig(**settings)  # type: ignore[arg-type]
    completer = Completer(engine, config, on_gpu=True, ring=await _ring(scene))
    async with _running(engine.run(), _agent_of_ours(engine, scene.load)):
        for number, recording in enumerate((scene.recording, *scene.more)):
            engine.backend.speak = speaker = Speaker(recording, engine.vocabulary, an_end(real.is_end, real.n_vocab))
            screen.turn_to(recording)
            await type_passage(Ours(completer, screen), screen, scene, f"app{number}.py")
        completer.close("editor")
        await asyncio.sleep(0.2)
    sequences = engine.completions
    generations = [
        Generation(
            speaker.prefix(one.request.prompt)[-TAIL_CHARS:],
            engine.vocabulary.decode(np.array(one.tokens, np.int32)),
            len(one.tokens),
        )
        for one in sequences
    ]
    status = completer.status()
    counters, dropped = status["counters"], status["dropped"]
    unrefused = ("overtaken", "cancelled", "late", "error")
    num_refused = sum(status["refusals"].values()) + sum(n for why, n in dropped.items() if why not in unrefused)
    return Outcome(
        **_screened(screen, generations),
        num_evaluated=sum(one.num_evaluated_tokens for one in sequences),
        num_starts=len(sequences),
        steps_after_cancel=tuple(engine.steps_after_cancel),
        first_ms=tuple(1e3 * (one.first_token_at - one.submitted_at) for one in sequences if _is_waited_for(one)),
        num_requests=counters["requests"],
        num_refused=num_refused,
        num_passed=counters.get("shown", 0) + dropped.get("late", 0) + dropped.get("error", 0),
        num_in_budget=counters.get("in_budget", 0),
        steps=Counter(status["steps"]),
        dropped=Counter(dropped),
    )


def _is_waited_for(one: Sequence) -> bool:
    """Whether it has said something to somebody."""
    return one.request.priority is Priority.COMPLETION and one.first_token_at > 0


async def _ring(scene: Scene) -> ContextRing:
    """The context, put together before the first key."""

    async def find(snapshot: Snapshot) -> Several[ContextBlock]:
        return scene.context

    ring, passage = ContextRing(find), scene.recording.passage
    await ring.refresh(Snapshot("file:///w/app0.py", "app0.py", "python", 0, passage.before, passage.after), 0.0)
    return ring


async def _other(policy: str, scene: Scene, real: Backend) -> Outcome:
    server = LlamaServer(real, scene.rates, is_hybrid=scene.is_hybrid)
    server.speak = speaker = Speaker(scene.recording, server.vocabulary, an_end(real.is_end, real.n_vocab))
    screen = Screen(scene.recording)
    async with _running(server.run(), _agent_of_server(server, scene.load)):
        await type_passage(OTHERS[policy](server, screen), screen, scene)
    tasks = [task for task in server.tasks if not task.is_agent]
    generations = [Generation(speaker.prefix(task.prompt)[-TAIL_CHARS:], task.text, len(task.tokens)) for task in tasks]
    num_evaluated = sum(task.num_evaluated for task in tasks)
    return Outcome(**_screened(screen, generations), num_evaluated=num_evaluated, num_starts=len(tasks))


def _screened(screen: Screen, generations: list[Generation]) -> dict[str, Any]:
    """What holds for everybody."""
    times = [reply.reply_ms for reply in screen.replies]
    return {
        "num_keys": screen.num_keys,
        "num_useful": screen.num_useful,
        "useful_ms": screen.useful_ms,
        "total_ms": screen.total_ms,
        "num_stale": screen.num_stale,
        "num_generated": sum(one.num_tokens for one in generations),
        "num_unseen": num_unseen_tokens(generations, screen.replies),
        "reply_ms": tuple(time for time in times if time > _HIT_MS),
        "hit_ms": tuple(time for time in times if time <= _HIT_MS),
    }


async def type_passage(policy: Policy, screen: Screen, scene: Scene, name: str = "app0.py") -> None:
    """Press the keys in a file of that name, and look at the screen for a pause after the last."""
    loop, passage = asyncio.get_running_loop(), screen.recording.passage
    begin_s = loop.time()
    for number, press in enumerate(presses(passage, scene.gap_ms, scene.seed)):
        await asyncio.sleep(max(0.0, begin_s + press.at_ms / 1e3 - loop.time()))
        snapshot = Snapshot(f"file:///w/{name}", name, "python", number, press.before, passage.after)
        screen.press(press, snapshot)
        policy.key(snapshot)
    await asyncio.sleep(1.0)
    screen.close()


class Ours:
    """The product, asked as VS Code does: each key cancels the request before it.

    `took_ms`: (source, milliseconds from the key) of each reply.
    """

    def __init__(self, completer: Completer, screen: Screen) -> None:
        self.took_ms: list[tuple[str, float]] = []
        self._completer = completer
        self._screen = screen
        self._task: asyncio.Task[None] | None = None

    def key(self, snapshot: Snapshot) -> None:
        """Ask."""
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_running_loop().create_task(self._ask(snapshot))

    async def _ask(self, snapshot: Snapshot) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        completion = await self._completer.complete(snapshot, Trigger.AUTOMATIC, "editor")
        if completion is not None:
            self.took_ms.append((completion.source, 1e3 * (loop.time() - since)))
            self._screen.show(snapshot, completion.text)


@asynccontextmanager
async def _running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Tasks for as long as the block lasts."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _agent_of_ours(engine: SimEngine, load: Load) -> None:
    """One request after another: long answers, or long prompts of which nothing is known."""
    number = 0
    while load != "idle":
        number += 1
        prompt = _agent_prompt(load, number)
        request = GenerationRequest(f"agent{number}", prompt, _num_new(load), priority=Priority.INTERACTIVE)
        async for _ in engine.generate(request):
            pass
        engine.drop_session(f"agent{number}")


async def _agent_of_server(server: LlamaServer, load: Load) -> None:
    number = 0
    while load != "idle":
        number += 1
        async for _ in server.complete(1, "completion", _agent_prompt(load, number), _num_new(load)):
            pass


def _agent_prompt(load: Load, number: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    size = _READ_TOKENS if load == "reads" else 256
    return np.concatenate([[300 + number], np.arange(size - 1) % 500 + 300]).astype(np.int32)


def _num_new(load: Load) -> int:
    return 8 if load == "reads" else _WRITE_TOKENS
