"""An engine as a process of its own: orders come in at a socket, reports go out.

    python -P -m qcn_agent.engine.engine_process SOCKET_FD RECORD_FD PARENT_PID

It ends with its parent, however that ends. What it held is on disk by then, as far as it was written behind.
"""

import asyncio
import contextlib
import ctypes
import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Coroutine, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from qcn_agent.engine import codec
from qcn_agent.engine.call_record import CallRecord
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.engine_messages import (
    AskStatus,
    Cancel,
    Close,
    Decode,
    DropSession,
    Emitted,
    Encode,
    Ended,
    Facts,
    Generate,
    Load,
    Loaded,
    MarkedRequest,
    Order,
    Progress,
    Question,
    Report,
    Status,
    Text,
    Tokens,
    failed,
)
from qcn_agent.engine.engines import Engines
from qcn_agent.engine.generator import GenerationRequest
from qcn_agent.errors import QcnError

logger = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1


class EngineProcess:
    """Serves one engine. Everything but loading, closing and questions happens on the loop, in the order of arrival."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: CallRecord) -> None:
        self._reader = reader
        self._writer = writer
        self._record = record
        self._loop = asyncio.get_running_loop()
        self._engines: Engines
        self._tasks: set[asyncio.Task[None]] = set()
        self._generations: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Load, serve until told to close, close. Ends the process at once when the other side is gone."""
        async with contextlib.aclosing(self._orders()) as orders:
            load = await anext(orders)
            if not isinstance(load, Load):
                raise TypeError(f"the first order is {load!r}")
            self._start(self._load_or_end(load))
            async for order in orders:
                if isinstance(order, Close):
                    break
                self._follow(order)
        await asyncio.to_thread(self._engines.close)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._writer.drain()
        self._writer.close()
        await self._writer.wait_closed()

    async def _orders(self) -> AsyncGenerator[Order, None]:
        while True:
            try:
                num_text, num_arrays = codec.HEAD.unpack(await self._reader.readexactly(codec.HEAD.size))
                text, arrays = await self._reader.readexactly(num_text), await self._reader.readexactly(num_arrays)
            except (asyncio.IncompleteReadError, ConnectionError):
                os._exit(1)  # nothing is waited for: the next daemon may load its model already
            yield codec.unpack(Order, text, arrays)

    async def _load_or_end(self, order: Load) -> None:
        """A process that can't load its model says why and is of no more use."""
        try:
            self._engines = await asyncio.to_thread(self._load, order)
        except Exception as error:  # the border of the process
            if not isinstance(error, QcnError):
                logger.exception("loading failed in an unexpected way")
            self._send(failed(0, error))
            await self._writer.drain()
            os._exit(2)
        self._send(self._introduction())

    def _load(self, order: Load) -> Engines:
        def progress(fraction: float) -> None:
            self._loop.call_soon_threadsafe(self._send, Progress(fraction))

        def enter(requests: Iterable[GenerationRequest]) -> None:
            self._record.write(request.fingerprint for request in requests if isinstance(request, MarkedRequest))

        return Engines.load(
            order.model,
            Path(order.path),
            completion=order.completion,
            scheduling=order.scheduling,
            on_progress=progress,
            trace=Path(order.trace) if order.trace else None,
            on_enter=enter,
        )

    def _introduction(self) -> Loaded:
        engines = self._engines
        second = _facts(engines.completion) if engines.completion is not engines.agent else None
        return Loaded(_facts(engines.agent), second, engines.status())

    def _follow(self, order: Order) -> None:
        if isinstance(order, Generate):
            self._generate(order)
        elif isinstance(order, Cancel):
            if order.number in self._generations:
                self._generations[order.number].cancel()
        elif isinstance(order, DropSession):
            self._loop.call_soon(self._engines.drop_session, order.name)  # generations asked for before are tasks
        elif isinstance(order, Encode | Decode | AskStatus):
            self._start(self._answer(order))

    def _generate(self, order: Generate) -> None:
        """As a task. Its end is reported even if it is cancelled before it began."""
        task = self._start(self._stream(order))
        self._generations[order.number] = task

        def report(task: asyncio.Task[None]) -> None:
            del self._generations[order.number]
            error = None if task.cancelled() else task.exception()
            self._send(Ended(order.number) if error is None else failed(order.number, error))

        task.add_done_callback(report)

    async def _stream(self, order: Generate) -> None:
        engine = self._engines.completion if order.request.for_completion else self._engines
        async with contextlib.aclosing(engine.generate(order.request)) as events:
            async for event in events:
                self._send(Emitted(order.number, event))
                await self._writer.drain()

    async def _answer(self, question: Question) -> None:
        try:
            self._send(await asyncio.to_thread(self._find_answer, question))
        except Exception as error:  # the border of a request
            self._send(failed(question.number, error))

    def _find_answer(self, question: Question) -> Report:
        if isinstance(question, AskStatus):
            return Status(question.number, self._engines.status())
        vocabulary = (self._engines.completion if question.for_completion else self._engines.agent).vocabulary
        if isinstance(question, Encode):
            return Tokens(question.number, vocabulary.encode(question.pieces))
        return Text(question.number, vocabulary.decode(question.tokens, special=question.special))

    def _send(self, report: Report) -> None:
        self._writer.write(codec.pack(report))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _facts(engine: Engine) -> Facts:
    ends = [token for token in range(engine.n_vocab) if engine.vocabulary.is_end(token)]
    return Facts(engine.n_ctx, engine.metadata, np.array(ends, np.int32))


def _die_with(parent_pid: int) -> None:
    """Linux ends this process with its parent; elsewhere the closed socket does, if nothing is stuck."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


async def _serve(connection: socket.socket, record: CallRecord) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    await EngineProcess(reader, writer, record).run()


def main() -> None:
    """Serve the process that started this one."""
    socket_fd, record_fd, parent_pid = map(int, sys.argv[1:4])
    _die_with(parent_pid)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash shall not write gigabytes of somebody's code to disk
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(socket.socket(fileno=socket_fd), CallRecord(record_fd)))


if __name__ == "__main__":
    main()
