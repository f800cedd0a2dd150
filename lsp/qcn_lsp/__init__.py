"""The language server: one pygls server a connection, on services that all connections share."""

from qcn_lsp.server import connect

__all__ = ["connect"]
