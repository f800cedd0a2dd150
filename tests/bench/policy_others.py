"""What others do with a key, as sections 2 and 3 of `editors.md` state it: their ideas, none of their code.

All speak to a `LlamaServer` in the order prefix, suffix, middle. Left out for everybody: context from other files.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from statistics import mean
from typing import Protocol

import numpy as np

from qcn_agent.completion.prompt import FimTokens
from qcn_agent.completion.values import Snapshot, indent_of
from qcn_agent.engine.generator import IntArray
from tests.bench.policy_screen import Screen
from tests.bench.policy_server import Kind, LlamaServer, StopAt, never

_EDITOR = 0  # the slot


class Policy(Protocol):
    """What is done at each key; what it shows goes to its screen."""

    def key(self, snapshot: Snapshot) -> None:
        """The text has changed."""


class _Client:
    """What all of them need: prompts, and tasks that end with the policy."""

    kind: Kind = "completion"

    def __init__(self, server: LlamaServer, screen: Screen) -> None:
        self.screen = screen
        self._server = server
        self._fim = FimTokens.of(server.vocabulary)
        self._tasks: set[asyncio.Task[None]] = set()
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    def _prompt(self, prefix: IntArray, suffix: IntArray) -> IntArray:
        marks = (np.array([token], np.int32) for token in (self._fim.prefix, self._fim.suffix, self._fim.middle))
        first, second, third = marks
        return np.concatenate([first, prefix, second, suffix, third])

    def _encode(self, text: str) -> IntArray:
        return self._server.vocabulary.encode([(text, False)])

    def _ask(self, prompt: IntArray, n_predict: int, stop_at: StopAt = never) -> AsyncGenerator[str, None]:
        return self._server.complete(_EDITOR, self.kind, prompt, n_predict, stop_at)

    async def _whole(self, prompt: IntArray, n_predict: int, stop_at: StopAt = never) -> str:
        """The answer; who is cancelled closes the connection."""
        whole = ""
        async with contextlib.aclosing(self._ask(prompt, n_predict, stop_at)) as texts:
            async for text in texts:
                whole = text
        return whole

    def _remember(self, before: str, after: str, text: str, most: int) -> None:
        self._known[before, after] = text
        while len(self._known) > most:
            self._known.popitem(last=False)

    def _rest(self, before: str, after: str, most_typed: int) -> str | None:
        """What is left of a known text, so many characters of which may have been typed."""
        for num in range(min(most_typed, len(before)) + 1):
            cut = len(before) - num
            text = self._known.get((before[:cut], after))
            if text is not None and text.startswith(before[cut:]) and (len(text) > num or not num):
                return text[num:]
        return None

    def _spawn(self, work: "asyncio.Task[None]") -> None:
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)


class LlamaVim(_Client):
    """No debounce, no cancel: while a request runs it tries again each 100 ms. 256 lines before, 64 after, as `/infill`
    cuts them for a batch of 1024; 128 tokens, after 250 ms (a guess: 1000) to the next line end. A cache of 250 that is
    followed through 128 typed characters; after each reply the next one as if it were accepted.
    """

    kind: Kind = "infill"
    num_prefix, num_suffix, num_predict = 768, 256, 128

    def __init__(self, server: LlamaServer, screen: Screen) -> None:
        super().__init__(server, screen)
        self._is_busy = False
        self._retry: asyncio.TimerHandle | None = None

    def key(self, snapshot: Snapshot) -> None:
        """Show what is known, else ask."""
        if len(snapshot.line_after) > 8 or self._offer(snapshot):
            return
        if self._is_busy:
            self._try_later()
        else:
            self._spawn(asyncio.get_running_loop().create_task(self._run(snapshot, 250.0)))

    def _try_later(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(0.1, self._again)

    def _again(self) -> None:
        if self.screen.snapshot is not None:
            self.key(self.screen.snapshot)

    def _offer(self, snapshot: Snapshot) -> bool:
        """Show what is known of this place, and prepare what follows it."""
        text = self._rest(snapshot.before, snapshot.after, 128)
        if not text:
            return text is not None
        self.screen.show(snapshot, text)
        then = snapshot.with_text(text)
        if not self._is_busy and self._rest(then.before, then.after, 0) is None:
            self._spawn(asyncio.get_running_loop().create_task(self._run(then, 1000.0)))
        return True

    async def _run(self, snapshot: Snapshot, most_ms: float) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        indent = len(indent_of(snapshot.line_before))

        def stop_at(text: str, ms: float) -> int | None:
            last = text.rpartition("\n")[2]
            if "\n" in text and last.strip() and len(indent_of(last)) < indent:
                return text.rfind("\n")
            return len(text) if ms > most_ms and "\n" in text.strip("\n") else None

        text = await self._whole(self._infill(snapshot), self.num_predict, stop_at)
        self._is_busy = False
        self._remember(snapshot.before, snapshot.after, text.rstrip(), 250)
        if self.screen.snapshot is not None and len(self.screen.snapshot.line_after) <= 8:
            self._offer(self.screen.snapshot)

    def _infill(self, snapshot: Snapshot) -> IntArray:
        above = "".join(snapshot.before[: snapshot.line_start].splitlines(keepends=True)[-256:])
        below = "".join(snapshot.after.splitlines(keepends=True)[:65])
        line = self._encode(snapshot.line_before)
        prefix = np.concatenate([self._encode(above)[-self.num_prefix :], line])
        return self._prompt(prefix, self._encode(below)[: max(0, self.num_suffix - 2 - len(line))])


class ContinueLike(_Client):
    """Debounce 350 ms. 30% of 1024 tokens before, 20% after. A reply at the first whole line from 150 ms on, anything
    at 375 ms. The running stream is used on while its text is typed, else ended. A cache of 1000 by what is before.
    """

    def __init__(self, server: LlamaServer, screen: Screen) -> None:
        super().__init__(server, screen)
        self._base = ""
        self._text = ""
        self._is_running = False
        self._stream: asyncio.Task[None] | None = None
        self._reply: asyncio.Task[None] | None = None

    def key(self, snapshot: Snapshot) -> None:
        """Wait for a pause."""
        if self._reply is not None:
            self._reply.cancel()
        self._reply = asyncio.get_running_loop().create_task(self._answer(snapshot))

    async def _answer(self, snapshot: Snapshot) -> None:
        await asyncio.sleep(0.35)
        known = self._rest(snapshot.before, "", 256)
        if known:
            self.screen.show(snapshot, known)
            return
        if not self._typed_off(snapshot) and not (self._is_running and self._follows(snapshot)):
            await self._start(snapshot)
        started = asyncio.get_running_loop().time()
        while True:
            spent_ms = 1e3 * (asyncio.get_running_loop().time() - started)
            lines, newline, _ = self._typed_off(snapshot).rpartition("\n")
            if not self._is_running or (spent_ms >= 150 and newline and lines.strip()) or spent_ms >= 375:
                break
            await asyncio.sleep(0.005)
        text = self._typed_off(snapshot)
        text = text.rpartition("\n")[0] if self._is_running and spent_ms < 375 else text
        if self._is_running and self._stream is not None:
            self._stream.cancel()
            self._is_running = False
        if text.strip():
            self._remember(snapshot.before, "", text.rstrip(), 1000)
            self.screen.show(snapshot, text.rstrip())

    def _follows(self, snapshot: Snapshot) -> bool:
        return (self._base + self._text).startswith(snapshot.before)

    def _typed_off(self, snapshot: Snapshot) -> str:
        return (self._base + self._text)[len(snapshot.before) :] if self._follows(snapshot) else ""

    async def _start(self, snapshot: Snapshot) -> None:
        if self._stream is not None:
            self._stream.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._stream
        self._base, self._text, self._is_running = snapshot.before, "", True
        self._stream = asyncio.get_running_loop().create_task(self._read(snapshot))

    async def _read(self, snapshot: Snapshot) -> None:
        prompt = self._prompt(self._encode(snapshot.before[-8_000:])[-307:], self._encode(snapshot.after[:4_000])[:204])
        async with contextlib.aclosing(self._ask(prompt, 4096)) as texts:
            async for text in texts:
                self._text = text
        self._is_running = False


class TabbyLike(_Client):
    """Debounce of 3.0 to 1.5 times the gap between keys, less the usual response time, 100 to 1000 ms, for hits as
    well. 20 lines before and after, 1536 characters each at most; 64 tokens. A new request ends the one before. A cache
    of 100 that is followed through 50 typed characters.
    """

    def __init__(self, server: LlamaServer, screen: Screen) -> None:
        super().__init__(server, screen)
        self._gaps: deque[float] = deque(maxlen=20)
        self._took: deque[float] = deque(maxlen=20)
        self._key_s: float | None = None
        self._task: asyncio.Task[None] | None = None

    def key(self, snapshot: Snapshot) -> None:
        """Wait as long as the pace says."""
        now = asyncio.get_running_loop().time()
        if self._key_s is not None and 0 < 1e3 * (now - self._key_s) <= 400:
            self._gaps.append(1e3 * (now - self._key_s))
        self._key_s = now
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_running_loop().create_task(self._answer(snapshot))

    def _delay_s(self, snapshot: Snapshot) -> float:
        last = snapshot.line_before[-1:]
        score = 0.5 * (bool(last) and not last.isalnum()) + 0.4 * (not snapshot.line_after.strip())
        score += 0.1 * (not snapshot.after.strip())
        rate = 3.0 - 1.5 * score
        gap, took = mean(self._gaps) if self._gaps else 150.0, mean(self._took) if self._took else 0.0
        return min(1000.0, max(100.0, rate * gap - took)) / 1e3

    async def _answer(self, snapshot: Snapshot) -> None:
        await asyncio.sleep(self._delay_s(snapshot))
        text = self._rest(snapshot.before, snapshot.after, 50)
        if text is None:
            started = asyncio.get_running_loop().time()
            above = "".join(snapshot.before.splitlines(keepends=True)[-20:])[-1536:]
            below = "".join(snapshot.after.splitlines(keepends=True)[:20])[:1536]
            text = (await self._whole(self._prompt(self._encode(above), self._encode(below)), 64)).rstrip()
            self._took.append(1e3 * (asyncio.get_running_loop().time() - started))
            self._remember(snapshot.before, snapshot.after, text, 100)
        if text:
            self.screen.show(snapshot, text)


OTHERS: dict[str, type[LlamaVim] | type[ContinueLike] | type[TabbyLike]] = {
    "llama.vim-like": LlamaVim,
    "Continue-like": ContinueLike,
    "Tabby-like": TabbyLike,
}
