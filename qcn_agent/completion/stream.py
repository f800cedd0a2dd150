"""One running generation, which later keys may go on using while they type what it says."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import numpy as np

from qcn_agent.completion import stops
from qcn_agent.completion.cache import CachedText, readings
from qcn_agent.completion.place import Place
from qcn_agent.completion.values import Snapshot
from qcn_agent.engine.generator import Event, Finished, TextDelta, Usage, Vocabulary
from qcn_agent.errors import QcnError

logger = logging.getLogger(__name__)
ORPHAN_TOKENS = 32  # of a generation that nobody waits for any more, for the cache


class Stream:
    """Text that grows. Use `start`; `ended` says why it no longer grows, "" while it does.

    `on_end` is called once, when it has ended, with this.
    """

    def __init__(
        self,
        place: Place,
        vocabulary: Vocabulary,
        markers: frozenset[int],
        on_end: Callable[["Stream"], None],
    ) -> None:
        self.place = place
        self.text = ""
        self.ended = ""
        self.usage: Usage | None = None
        self.num_tokens = 0
        self.num_read_tokens = 0  # of the prompt, so far
        self.num_seen_chars = 0  # of the text; what a reply has shown
        self.error = ""
        self._vocabulary = vocabulary
        self._markers = markers
        self._on_end = on_end
        self._tokens: list[int] = []
        self._logprobs: list[float] = []
        self._pulse = asyncio.Event()
        self._orphan_limit: int | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, events: AsyncIterator[Event]) -> None:
        """Begin to consume."""
        self._task = asyncio.get_running_loop().create_task(self._run(events))

    @property
    def mean_logprob(self) -> float | None:
        """Of the tokens of the first line; None where none were asked for."""
        return sum(self._logprobs) / len(self._logprobs) if self._logprobs else None

    @property
    def cached(self) -> CachedText:
        """For the cache, as far as it has come."""
        return CachedText(self.text, self.ended in ("stop", "cut", "marker"), self.mean_logprob)

    def typed_since(self, snapshot: Snapshot) -> str | None:
        """What was typed since it began, if that agrees with what it says; None if this is of no use to `snapshot`.

        Who types faster than it speaks still follows it, as long as it has not ended.
        """
        base = self.place.snapshot
        if snapshot.uri != base.uri or not snapshot.before.startswith(base.before):
            return None
        if base.after not in readings(snapshot.after):
            return None
        typed = snapshot.before[len(base.before) :]
        if self.text.startswith(typed) and (len(typed) < len(self.text) or not typed or not self.ended):
            return typed
        return typed if not self.ended and typed.startswith(self.text) else None

    def rest(self, snapshot: Snapshot) -> str | None:
        """What it says beyond the cursor so far; None when it is of no use any more."""
        typed = self.typed_since(snapshot)
        return None if typed is None else self.text[len(typed) :]

    def is_confirmed_by(self, snapshot: Snapshot) -> bool:
        """Whether what was typed since it began is what it had said by then."""
        typed = self.typed_since(snapshot)
        return bool(typed) and self.text.startswith(typed or "")

    async def changed(self, timeout_s: float) -> None:
        """Wait until there is more text, an end, or somebody poked; at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._pulse.wait()

    def poke(self) -> None:
        """Let everyone look again."""
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    def adopt(self) -> None:
        """Somebody waits for it."""
        self._orphan_limit = None

    def orphan(self, *, may_go_on: bool) -> None:
        """Nobody does: it ends now, or after a few tokens for the cache."""
        if not may_go_on:
            self.stop()
        elif not self.ended:
            self._orphan_limit = self.num_tokens + ORPHAN_TOKENS

    def stop(self) -> None:
        """End it; the engine stops at its next step."""
        if self._task is not None and not self.ended:
            self._task.cancel()
            self._end("cancelled")

    async def _run(self, events: AsyncIterator[Event]) -> None:
        try:
            async with contextlib.aclosing(events) as closing:  # type: ignore[type-var]  # an async generator
                async for event in closing:
                    if self.ended or self._take(event):
                        break
            self._end(self.ended or "cancelled")
        except asyncio.CancelledError:
            self._end("cancelled")
        except Exception as error:  # a border: nobody awaits this task, and a key must not fail
            self.error = str(error)
            logger.log(logging.INFO if isinstance(error, QcnError) else logging.ERROR, "a completion failed: %r", error)
            self._end("error")

    def _take(self, event: Event) -> bool:
        """Whether it ends with this event."""
        if isinstance(event, Finished):
            self.usage, self.num_tokens = event.usage, max(self.num_tokens, len(event.tokens))
            self._end(event.reason)
            return True
        if isinstance(event, TextDelta):
            return self._take_text(event)
        self.num_read_tokens = event.num_done_tokens
        return False

    def _take_text(self, delta: TextDelta) -> bool:
        if "\n" not in self.text.lstrip("\n"):
            self._logprobs += [one.logprob for one in delta.logprobs]
        self.text += delta.text
        self._tokens += delta.tokens
        self.num_tokens += len(delta.tokens) or 1
        if (marker := self._first_marker()) is not None:
            self.text = self._vocabulary.decode(np.array(self._tokens[:marker], np.int32))
            self._end("marker")
        elif (end := stops.cut(self.text, self.place)) is not None:
            self.text = self.text[:end]
            self._end("cut")
        elif self._orphan_limit is not None and self.num_tokens >= self._orphan_limit:
            self._end("cancelled")
        self.poke()
        return bool(self.ended)

    def _first_marker(self) -> int | None:
        return next((index for index, token in enumerate(self._tokens) if token in self._markers), None)

    def _end(self, reason: str) -> None:
        if not self.ended:
            self.ended = reason
            if reason in ("stop", "length") and (end := stops.cut(self.text + "\n", self.place)) is not None:
                self.text = self.text[: min(end, len(self.text))]
            self.poke()
            self._on_end(self)
