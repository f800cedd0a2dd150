"""What is known of one document in one editor: its latest request, its running generation, the pace of typing."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from qcn_agent.completion.asking import Asked
from qcn_agent.completion.debounce import Edit, TypingPace, edit_between
from qcn_agent.completion.stream import Stream
from qcn_agent.completion.values import Completion, Snapshot, Trigger


class Request:
    """One call of `Completer.complete`. `came_s` is when; the budget runs from `asked_s`, after the debounce."""

    def __init__(self, snapshot: Snapshot, trigger: Trigger, edit: Edit, now_s: float) -> None:
        self.snapshot = snapshot
        self.trigger = trigger
        self.edit = edit
        self.came_s = self.asked_s = now_s
        self._overtaken = asyncio.Event()

    @property
    def is_overtaken(self) -> bool:
        """Whether a newer request for the same document came."""
        return self._overtaken.is_set()

    def overtake(self) -> None:
        """A newer one came."""
        self._overtaken.set()

    async def overtaken_within(self, delay_s: float) -> bool:
        """Wait so long for a newer one. Whether it came."""
        if delay_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._overtaken.wait()
        return self.is_overtaken


class Desk:
    """The state of a (client, document). The engine's session of the same name is superseded by each new prompt."""

    def __init__(self, client: str, uri: str) -> None:
        self.session = f"completion:{client}:{uri}"
        self.pace = TypingPace()
        self.stream: Stream | None = None
        self.asked: Asked | None = None
        self.shown: Completion | None = None
        self.unanswered_s: float | None = None  # when the first key came that has had no answer
        self.num_wrong = 0  # times the model was asked since a key last was what it had said
        self.ahead: asyncio.Task[None] | None = None  # reads a prompt for later
        self._latest: Request | None = None
        self._after: asyncio.Task[None] | None = None

    def begin(self, snapshot: Snapshot, trigger: Trigger, now_s: float) -> Request:
        """A new request: it overtakes the one before, and ends what was prepared meanwhile."""
        old = self._latest
        edit = edit_between(old.snapshot if old else None, snapshot, self.shown.text if self.shown else "")
        if edit is Edit.TYPED:
            self.pace.key(now_s)
        self._latest = request = Request(snapshot, trigger, edit, now_s)
        if old is not None:
            old.overtake()
        if self.stream is not None:
            self.stream.poke()
        self.shown = None
        self._stop_after()
        return request

    def set_after(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this until the next request."""
        self._stop_after()
        self._after = asyncio.get_running_loop().create_task(work)

    def drop_stream(self) -> None:
        """What runs is of no use."""
        if self.stream is not None:
            self.stream.stop()
            self.stream = None

    def drop_unless_used(self, request: Request, stream: Stream) -> None:
        """The request was cancelled a moment ago; without a newer one its stream ends."""
        if self._latest is request and self.stream is stream:
            self.drop_stream()

    def clear(self) -> None:
        """Nothing runs on."""
        if self._latest is not None:
            self._latest.overtake()
        self.drop_stream()
        self._stop_after()
        if self.ahead is not None:
            self.ahead.cancel()

    def _stop_after(self) -> None:
        if self._after is not None:
            self._after.cancel()
            self._after = None
