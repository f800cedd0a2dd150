"""One `LanguageServer` for each connection. Never `start_tcp`: it mixes up the answers of its clients."""

import asyncio
import logging
import threading
from collections.abc import Generator
from typing import Any

from pygls.io_ import run_async
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from qcn_agent import __version__
from qcn_agent.daemon.services import Services
from qcn_lsp.features import context, fix, status
from qcn_lsp.values import converter

# pygls writes whole messages, source text included, at INFO.
logging.getLogger("pygls").setLevel(logging.WARNING)


class Protocol(LanguageServerProtocol):
    """LSP whose `exit` ends the connection, not the process."""

    @lsp_method("exit")
    def lsp_exit(self, *args: Any) -> Generator[Any, Any, None]:
        """Hang up."""
        self._server.shutdown()  # type: ignore[no-untyped-call]  # pygls leaves it bare
        yield from ()


class Server(LanguageServer):
    """The server at one end of one connection."""

    def __init__(self, services: Services) -> None:
        super().__init__("qcn-agent", __version__, protocol_cls=Protocol, converter_factory=converter)
        self.services = services
        self._hung_up = self._stop_event = threading.Event()

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Errors go to the client as the answer to its request; a message box on top of that is noise."""

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve until the client hangs up; what it had asked for is cancelled then."""
        self.protocol.set_writer(_Writer(writer))
        try:
            await run_async(stop_event=self._hung_up, reader=reader, protocol=self.protocol)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away in the middle of a message
        finally:
            await self._cancel_requests()

    async def _cancel_requests(self) -> None:
        requests: list[Any] = list(self.protocol._request_futures.values())
        tasks = [task for task in requests if isinstance(task, asyncio.Task)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10.0)


class _Writer:
    """Writes that never raise: a client that is gone is noticed by the reader."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def write(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    def close(self) -> None:
        self._writer.close()


async def connect(services: Services, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one admitted connection until it ends."""
    server = Server(services)
    context.register(server, services)
    fix.register(server, services)
    status.register(server, services)
    await server.run(reader, writer)
