"""`qcn/fix`: run the agent; its events come as `qcn/event` notifications while the request is open."""

from typing import Any

from pygls.lsp.server import LanguageServer

from qcn_agent.agent.events import RunEvent
from qcn_agent.daemon.orders import FixOrder
from qcn_agent.daemon.services import Services
from qcn_lsp.values import answers


def register(server: LanguageServer, services: Services) -> None:
    """Add the feature to `server`."""

    @server.feature("qcn/fix")
    @answers
    async def fix(params: dict[str, Any]) -> dict[str, Any]:
        def emit(event: RunEvent) -> None:
            server.protocol.notify("qcn/event", {"kind": event.kind, "data": dict(event.data)})

        outcome = await services.fix(FixOrder.from_json(params), emit)
        return outcome.to_json()
