"""The language server over the daemon's socket, spoken to as an editor would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qcn_agent import __version__
from qcn_agent.daemon import client

Start = Callable[..., Any]


def connected() -> client.Client:
    """A connection that must exist."""
    connection = client.connect_to_running()
    assert connection is not None
    return connection


def initialize(connection: client.Client, root: Path) -> dict[str, Any]:
    """The handshake of LSP."""
    params: dict[str, Any] = {"processId": None, "rootUri": root.as_uri(), "capabilities": {}}
    result: dict[str, Any] = connection.request("initialize", params)
    connection.notify("initialized", {})
    return result


def test_initialize_names_the_server(daemon: Start, project: Path) -> None:
    """An editor gets name, version and capabilities."""
    daemon()

    with connected() as connection:
        result = initialize(connection, project)

    assert result["serverInfo"] == {"name": "qcn-agent", "version": __version__}
    assert "textDocumentSync" in result["capabilities"]


def test_exit_ends_one_connection_and_not_the_daemon(daemon: Start, project: Path) -> None:
    """Closing a window leaves the others served."""
    daemon()
    with connected() as first, connected() as second:
        initialize(first, project)
        initialize(second, project)

        first.request("shutdown", None)
        first.notify("exit", None)

        assert second.request("qcn/status", {})["version"] == __version__


def test_answers_go_to_the_client_that_asked(daemon: Start, project: Path) -> None:
    """Two connections ask with the same request ids, interleaved; each gets its own kind of answer."""
    daemon()
    with connected() as first, connected() as second:
        initialize(first, project)
        for _ in range(20):
            first.send({"jsonrpc": "2.0", "id": 77, "method": "qcn/status", "params": {}})
            second.send({"jsonrpc": "2.0", "id": 77, "method": "qcn/no_such", "params": {}})
            assert "version" in first._wait(77, None)["result"]
            assert "no_such" in second._wait(77, None)["error"]["message"]
            first._frames.drop()
            second._frames.drop()


def test_parameters_stay_as_they_were_sent(daemon: Start, project: Path) -> None:
    """Keys that are no Python identifiers arrive: an environment may hold any name."""
    daemon()
    env = {"PATH": "/bin", "with-dash": "1", "_under": "2", "class": "3"}
    order = {"workspace": str(project), "issue": " ", "env": env, "fix": {}}

    with connected() as connection, pytest.raises(Exception, match="the issue is empty"):
        connection.request("qcn/fix", order)


def test_documents_of_one_window_stay_in_it(daemon: Start, project: Path) -> None:
    """What one editor has open is not known to the other."""
    daemon()
    uri = (project / "calc.py").as_uri()
    document = {"uri": uri, "languageId": "python", "version": 1, "text": "secret = 1"}
    with connected() as first, connected() as second:
        initialize(first, project)
        initialize(second, project)
        first.notify("textDocument/didOpen", {"textDocument": document})

        status = second.request("qcn/status", {})

    assert "secret" not in str(status)
