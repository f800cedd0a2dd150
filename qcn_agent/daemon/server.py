"""The socket server: lets in whoever is the same user and knows the token, and hands the connection on."""

import asyncio
import hmac
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from qcn_agent import __version__
from qcn_agent.daemon import endpoint, wire
from qcn_agent.daemon.services import Services
from qcn_agent.errors import DaemonError

logger = logging.getLogger(__name__)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_BACKLOG = 1024  # connections that wait to be accepted; one more is refused at once
_LAST_ANSWERS_S, _HANG_UP_S = 0.1, 1.0
OnConnection = Callable[[Services, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serve(services: Services, on_connection: OnConnection) -> None:
    """Listen until the services are told to stop. The caller holds the lock.

    Prints nothing; says where it listens through the endpoint files and removes them at the end.
    """
    token = endpoint.new_token()
    path, claim = endpoint.take_socket()
    connections: dict[asyncio.Task[Any] | None, asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[asyncio.current_task()] = writer
        try:
            if await _is_admitted(reader, writer, token):
                with services.client():
                    await on_connection(services, reader, writer)
            await _hang_up(writer)
        finally:
            del connections[asyncio.current_task()]

    server = await asyncio.start_unix_server(handle, path=path, limit=wire.MAX_FRAME_BYTES, backlog=_BACKLOG)
    Path(path).chmod(0o600)
    endpoint.publish(endpoint.Endpoint(os.getpid(), str(path), __version__))
    try:
        await services.stopping.wait()
    finally:
        endpoint.withdraw()
        server.close()
        endpoint.leave_socket(path, claim)
        await services.close()
        await _hang_up_all(connections)


async def _is_admitted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> bool:
    try:
        await admit(reader, writer, token)
    except (DaemonError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
        logger.warning("refused a connection: %s", error)
        return False
    return True


async def admit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
    """Check the peer's user id and its first frame. Tells the peer and raises DaemonError when either is wrong."""
    uid = peer_uid(writer.get_extra_info("socket"))
    if uid is not None and uid != os.getuid():
        raise DaemonError(f"the peer is user {uid}")
    async with asyncio.timeout(wire.HELLO_TIMEOUT_S):
        hello = await _read_hello(reader)
    params = hello.get("params")
    if hello.get("method") != "qcn/hello" or not isinstance(params, dict):
        await _refuse(writer, wire.UNAUTHORIZED, "the first message must be qcn/hello")
    elif not hmac.compare_digest(str(params.get("token", "")).encode(), token.encode()):
        await _refuse(writer, wire.UNAUTHORIZED, "wrong token")
    elif params.get("protocol") != wire.PROTOCOL:
        text = f"this daemon is qcn-agent {__version__} (protocol {wire.PROTOCOL}), the client {params.get('version')}"
        await _refuse(writer, wire.INCOMPATIBLE, text)
    welcome = {"protocol": wire.PROTOCOL, "version": __version__, "pid": os.getpid()}
    writer.write(wire.encode({"jsonrpc": "2.0", "method": "qcn/welcome", "params": welcome}))
    await writer.drain()


def peer_uid(connection: socket.socket) -> int | None:
    """The user at the other end, from the kernel; None where the platform has no SO_PEERCRED (the folder is 0700)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


async def _read_hello(reader: asyncio.StreamReader) -> dict[str, Any]:
    length = None
    for _ in range(8):
        line = await reader.readuntil(b"\r\n")
        if line == b"\r\n":
            break
        if wire.is_length(line):
            length = wire.content_length(line, wire.MAX_HELLO_BYTES)
    if length is None:
        raise DaemonError("the first message has no length")
    try:
        message = json.loads(await reader.readexactly(length))
    except (ValueError, RecursionError) as error:
        raise DaemonError("the first message is not JSON") from error
    return message if isinstance(message, dict) else {}


async def _refuse(writer: asyncio.StreamWriter, code: int, message: str) -> None:
    writer.write(wire.encode({"jsonrpc": "2.0", "error": {"code": code, "message": message}}))
    await writer.drain()
    raise DaemonError(message)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        pass  # the peer was faster


async def _hang_up_all(connections: Mapping[asyncio.Task[Any] | None, asyncio.StreamWriter]) -> None:
    """End the connections that are left, in order: a cancelled one would leave a traceback in the log.

    What has just been given up is answered first, so that its client does not take us for dead.
    """
    if tasks := [task for task in connections if task is not None]:
        await asyncio.wait(tasks, timeout=_LAST_ANSWERS_S)
        for writer in list(connections.values()):
            writer.close()
        await asyncio.wait(tasks, timeout=_HANG_UP_S)
