"""A point to return to within one step, for tokens that were only guessed."""

from qcn_agent.engine.backend import Backend
from qcn_agent.engine.residency import Branch


class Mark:
    """The state of one running branch, in `seq_id`, through which KV copies pass at other times.

    So it is no holding of the cache: nothing is evicted for it, and no copy may be made while it is set. Engine thread.
    """

    def __init__(self, backend: Backend, seq_id: int) -> None:
        self._backend = backend
        self._seq_id = seq_id
        self._position: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is one. Never so between steps."""
        return self._position is not None

    def set(self, branch: Branch) -> None:
        """Remember the end of the branch. Moves no bytes until the branch is decoded into."""
        self._position = len(branch.ledger)
        if self._backend.needs_snapshots:
            self._backend.snapshot(branch.seq_id, self._seq_id)

    def return_to(self, branch: Branch) -> None:
        """Put the branch back to where it was, whatever was decoded into it. Raises DecodeError."""
        assert self._position is not None  # noqa: S101 - set for this branch
        self._backend.restore(self._seq_id, branch.seq_id, self._position)
        branch.ledger.truncate(self._position)

    def cut(self, branch: Branch, num_tokens: int) -> None:
        """Forget what lies after `num_tokens`, not before the mark. A recurrent state goes back to the mark itself."""
        if num_tokens >= len(branch.ledger):
            return
        if self._backend.needs_snapshots:
            self.return_to(branch)
            return
        self._backend.trim(branch.seq_id, num_tokens)
        branch.ledger.truncate(num_tokens)

    def clear(self) -> None:
        """Forget it. Harmless when there is none."""
        if self._position is not None and self._backend.needs_snapshots:
            self._backend.drop(self._seq_id)
        self._position = None
