"""`serve`: the composition root. Builds the services once and gives them to the socket server."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from qcn_agent import config, paths
from qcn_agent.cli.model import given_model
from qcn_agent.errors import DaemonError, UsageError


@click.command("serve")
@click.option("--foreground", is_flag=True, help="Stay in the terminal and log to stderr.")
@click.option("--model", metavar="PATH", help="GGUF to load. Default: model.path, else qcn-mini.")
@click.option("--trace", metavar="FILE", help="Write what the engine does, for Perfetto (ui.perfetto.dev).")
def command(foreground: bool, model: str | None, trace: str | None) -> int:
    """Start the daemon that hosts the model for all editors and terminals.

    You rarely need this: `fix` starts it by itself. It ends when idle (see daemon.idle_exit_s).
    """
    flags = {"model.path": given_model(model) or None, "daemon.trace": trace}
    settings = config.load(user_file=paths.config_file(), flags=flags)
    return run_here(settings) if foreground else start_apart(settings, flags["model.path"] or "")


def start_apart(settings: config.Config, model_path: str) -> int:
    """Start the daemon in the background, unless it runs already, and load a model into it.

    That is the one at `model_path`; if that is empty, what the daemon has or is set to.
    """
    from qcn_agent.daemon import client, endpoint

    if settings.daemon.trace:
        if endpoint.is_locked():
            raise UsageError("a daemon is running already, so it can't begin a trace", hint="qcn-agent stop")
        os.environ["QCN_DAEMON_TRACE"] = settings.daemon.trace  # for the daemon that is started now
    with client.connect(click.echo, settings.model.path) as connection:
        loaded = connection.request("qcn/load", {"model": model_path}, _show_phase)
        click.echo(f"process {connection.pid} serves {loaded['path']}")
    return 0


def _show_phase(_: str, event: Any) -> None:
    click.echo(event["data"].get("text", ""))


def run_here(settings: config.Config) -> int:
    """Be the daemon until told to stop. Raises DaemonError when another one lives."""
    from qcn_agent.daemon import endpoint, server
    from qcn_agent.daemon.services import Services
    from qcn_agent.engine import trace
    from qcn_lsp.server import connect

    lock = endpoint.take_lock(timeout_s=1.0)
    if lock is None:
        raise DaemonError("a daemon is running already", hint="qcn-agent status, or qcn-agent stop")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if settings.daemon.trace:
        trace.begin(Path(settings.daemon.trace))

    async def live() -> None:
        services = Services(settings)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the last: its terminal was closed
            asyncio.get_running_loop().add_signal_handler(number, services.stopping.set)
        idleness = asyncio.create_task(services.watch_idleness())
        await server.serve(services, connect)
        idleness.cancel()

    with lock:
        asyncio.run(live())
    return 0
