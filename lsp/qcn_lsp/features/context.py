"""`qcn/context`: what the model would be shown for an issue; progress comes as `qcn/event` notifications."""

from typing import Any

from pygls.lsp.server import LanguageServer

from qcn_agent.daemon.orders import ContextOrder
from qcn_agent.daemon.services import Services
from qcn_lsp.values import answers


def register(server: LanguageServer, services: Services) -> None:
    """Add the feature to `server`."""

    @server.feature("qcn/context")
    @answers
    async def context(params: dict[str, Any]) -> dict[str, Any]:
        def say(text: str) -> None:
            server.protocol.notify("qcn/event", {"kind": "phase", "data": {"text": text}})

        order = ContextOrder.from_json(params)
        pack = await services.context(order, say)
        return pack.to_json() | ({"tokens": pack.tokens.tolist()} if order.with_tokens else {})
