"""Blobs as files: content that survives the process."""

from qcn_agent.engine.arena import Blob
from qcn_agent.engine.backend import Bytes


class DiskStore:
    """To come in this issue."""

    def read(self, blob: Blob) -> Bytes:
        """Read and check."""
        raise NotImplementedError

    def remove(self, blob: Blob) -> None:
        """Delete."""
        raise NotImplementedError
