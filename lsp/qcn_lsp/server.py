"""One `LanguageServer` for each connection. Never `start_tcp`: it mixes up the answers of its clients."""

import asyncio
import logging
import threading
from collections.abc import Generator
from typing import Any, cast

from lsprotocol import types
from pygls.io_ import run_async
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from qcn_agent import __version__
from qcn_agent.daemon.services import Services
from qcn_lsp.client_options import ClientOptions
from qcn_lsp.documents import UTF_16
from qcn_lsp.features import completion, context, diagnostics, fix, status
from qcn_lsp.open_documents import OpenDocuments
from qcn_lsp.values import converter

# pygls writes whole messages, source text included, at INFO.
logging.getLogger("pygls").setLevel(logging.WARNING)


Calls = Generator[Any, Any, None]


class Protocol(LanguageServerProtocol):
    """LSP whose `exit` ends the connection, not the process, and whose documents are ours."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.documents = OpenDocuments()

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> Calls:
        """Know it, and tell whoever follows documents."""
        self.documents.open(params.text_document)
        yield from self._tell(types.TEXT_DOCUMENT_DID_OPEN, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Calls:
        """Follow it, and tell whoever follows documents."""
        self.documents.change(params)
        yield from self._tell(types.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_SAVE)
    def lsp_text_document__did_save(self, params: types.DidSaveTextDocumentParams) -> Calls:
        """Tell whoever follows documents."""
        self.documents.saved(params.text_document.uri)
        yield from self._tell(types.TEXT_DOCUMENT_DID_SAVE, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> Calls:
        """Forget it, and tell whoever follows documents."""
        self.documents.close(params.text_document.uri)
        yield from self._tell(types.TEXT_DOCUMENT_DID_CLOSE, params)

    @lsp_method(types.INITIALIZED)
    def lsp_initialized(self, *args: Any) -> Calls:
        """Count characters as was agreed on."""
        self.documents.encoding = types.PositionEncodingKind(self.server_capabilities.position_encoding or UTF_16).value
        yield from self._tell(types.INITIALIZED, *args)

    def _tell(self, method: str, *args: Any) -> Calls:
        if (handler := self.fm.features.get(method)) is not None:
            yield handler, args, None

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
        self.is_editor = False  # it said `initialized`
        self.options = ClientOptions()
        self._hung_up = self._stop_event = threading.Event()

    @property
    def documents(self) -> OpenDocuments:
        """What the editor has open."""
        return cast(Protocol, self.protocol).documents

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
    server.feature(types.INITIALIZED)(lambda _: setattr(server, "is_editor", True))
    diagnostics.register(server, services)
    offering = completion.register(server, services)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders_changed(params: types.DidChangeWorkspaceFoldersParams) -> None:
        server.options = server.options.after(params.event)
        services.completions.add_projects(server.options.folders)

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.options = ClientOptions.of(params)
        services.completions.add_projects(server.options.folders)
        if not server.options.shows_inline_completion:
            completion.register_popup(server, offering)

    context.register(server, services)
    fix.register(server, services)
    status.register(server, services)
    farewell = asyncio.create_task(_say_farewell(server, services))
    try:
        await server.run(reader, writer)
    finally:
        farewell.cancel()
        offering.close()


async def _say_farewell(server: Server, services: Services) -> None:
    """An editor's shim brings back a daemon that has died, but not one that was stopped."""
    await services.stopping.wait()
    if server.is_editor:
        server.protocol.notify("qcn/stopping", {})
