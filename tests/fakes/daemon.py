"""A daemon in this process: the real server, protocol and services, with a scripted model."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from qcn_agent.config import Config
from qcn_agent.daemon import endpoint, server
from qcn_agent.daemon.services import Services
from qcn_lsp.server import connect
from tests.fakes.host import ScriptedHost
from tests.fakes.scripted import ScriptedGenerator


class RunningDaemon:
    """A daemon on its own thread and loop, so that blocking clients can talk to it."""

    def __init__(self, generator: ScriptedGenerator) -> None:
        self.host = ScriptedHost(generator)
        self.services: Services | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))

    def __enter__(self) -> "RunningDaemon":
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.call(lambda services: services.request_stop(if_idle=False))
        self._thread.join(20)

    def call(self, function: Callable[[Services], object]) -> None:
        """Run `function` on the daemon's loop."""
        if self.services is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, self.services)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.services = Services(Config(), host=self.host)
        serving = asyncio.create_task(server.serve(self.services, connect))
        while not (Path(endpoint.socket_path()).exists() and endpoint.find()):
            await asyncio.sleep(0)
        self._ready.set()
        await serving
