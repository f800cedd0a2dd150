"""A daemon in a process of its own whose model says what the command line tells it: one that can really be killed.

python -m tests.fakes.scripted_daemon TURN...
"""

import asyncio
import sys

from qcn_agent.config import Config
from qcn_agent.daemon import endpoint, server
from qcn_agent.daemon.services import Services
from qcn_lsp.server import connect
from tests.fakes.host import ScriptedHost
from tests.fakes.scripted import ScriptedGenerator


async def live(turns: list[str]) -> None:
    """Serve until stopped."""
    await server.serve(Services(Config(), host=ScriptedHost(ScriptedGenerator(turns))), connect)


if __name__ == "__main__":
    lock = endpoint.take_lock()
    if lock is None:
        sys.exit("another daemon lives")
    asyncio.run(live(sys.argv[1:]))
