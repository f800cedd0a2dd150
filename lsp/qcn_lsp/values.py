"""The border between pygls and our services: JSON values in, our errors out."""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from cattrs import Converter
from pygls.exceptions import JsonRpcException
from pygls.protocol import JsonRPCNotification, JsonRPCRequestMessage, JsonRPCResponseMessage, default_converter

from qcn_agent.errors import QcnError

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
QCN_ERROR = -32060


def converter() -> Converter:
    """pygls' converter, but parameters of our own methods stay dictionaries.

    As attribute objects they would lose every key that is no Python identifier.
    """
    made: Converter = default_converter()  # type: ignore[no-untyped-call]  # pygls leaves it bare
    for message in (JsonRPCRequestMessage, JsonRPCNotification, JsonRPCResponseMessage):
        made.register_structure_hook(message, lambda table, cls: cls(**table))
    return made


def answers(handler: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Turn what `handler` raises into an error answer that carries hint and exit code."""

    @functools.wraps(handler)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await handler(*args, **kwargs)
        except QcnError as error:
            data = {"exit_code": error.exit_code, "hint": error.hint, "kind": type(error).__name__}
            raise JsonRpcException(str(error), QCN_ERROR, data) from error
        except Exception as error:  # a border: whatever it is, the client gets an answer and the log the traceback
            logger.exception("a request failed")
            message = f"internal error: {type(error).__name__}: {error}"
            raise JsonRpcException(message, QCN_ERROR, {"exit_code": 1, "hint": "see the daemon's log"}) from error

    return wrapped
