"""The scripted server of `tests.fakes.lsp_server` as a daemon that can be killed, behind the real shim and socket.

python -m tests.fakes.lsp_daemon lsp       what an editor starts
python -m tests.fakes.lsp_daemon serve     the daemon; the shim starts it
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from qcn_agent.config import Config
from qcn_agent.daemon import client, endpoint, server, wire
from qcn_agent.daemon.services import Services
from qcn_lsp.shim import Shim
from tests.fakes.host import ScriptedHost
from tests.fakes.lsp_server import Message, Script, ScriptedServer, record
from tests.fakes.scripted import ScriptedGenerator

START_TIMEOUT_S = 20.0


def serve_shim() -> int:
    """Be the shim of an editor; the exit code."""
    record("shim")
    output = sys.stdout.buffer

    def send(data: bytes) -> None:
        output.write(data)
        output.flush()

    return Shim(lambda count: os.read(0, count), send, connect_or_start).run()


def connect_or_start(on_wait: Callable[[str], None]) -> client.Client:
    """As `client.connect`, but the daemon that is started is the scripted one."""
    found = client.connect_if_ready()
    if found is not None:
        return found
    command = [sys.executable, "-m", "tests.fakes.lsp_daemon", "serve"]
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + START_TIMEOUT_S
    while (found := client.connect_if_ready()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return found or client.connect(on_wait)


def serve_socket() -> int:
    """Be the daemon until stopped; the exit code."""
    lock = endpoint.take_lock()
    if lock is None:
        return 1
    with lock:
        record("served")
        asyncio.run(server.serve(Services(Config(), host=ScriptedHost(ScriptedGenerator([]))), connect))
    return 0


async def connect(services: Services, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection until it ends."""
    scripted = ScriptedServer(
        Script.load(),
        lambda message: writer.write(wire.encode(message)),
        stop=lambda: services.request_stop(if_idle=False),
    )
    while (message := await _receive(reader)) is not None:
        scripted.receive(message)


async def _receive(reader: asyncio.StreamReader) -> Message | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        message: Message = json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return message


ROLES = {"lsp": serve_shim, "serve": serve_socket}

if __name__ == "__main__":
    sys.exit(ROLES[sys.argv[1]]())
