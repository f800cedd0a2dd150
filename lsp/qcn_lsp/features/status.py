"""`qcn/status`, `qcn/load` and `qcn/stop`."""

from typing import Any

from pygls.lsp.server import LanguageServer

from qcn_agent.daemon.services import Services
from qcn_lsp.values import answers


def register(server: LanguageServer, services: Services) -> None:
    """Add them to `server`."""

    @server.feature("qcn/status")
    @answers
    async def status(_: Any) -> dict[str, Any]:
        return services.status()

    @server.feature("qcn/load")
    @answers
    async def load(params: dict[str, Any]) -> dict[str, Any]:
        def say(text: str) -> None:
            server.protocol.notify("qcn/event", {"kind": "phase", "data": {"text": text}})

        return {"path": str(await services.host.load(str(params.get("model", "")), say))}

    @server.feature("qcn/stop")
    @answers
    async def stop(params: dict[str, Any] | None) -> dict[str, Any]:
        return {"stopping": services.request_stop(if_idle=bool((params or {}).get("if_idle", False)))}
