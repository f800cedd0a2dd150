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

    def cut(self, branch: Branch, num_tokens: int) -> None:
        """Forget at least what lies after `num_tokens`, which is not before the mark.

        A recurrent state goes back to the mark itself; without one exactly `num_tokens` stay.
        """
        assert self._position is not None and self._position <= num_tokens  # noqa: S101 - set for this branch
        if num_tokens >= len(branch.ledger):
            return
        if self._backend.needs_snapshots:
            num_tokens = self._position
            self._backend.restore(self._seq_id, branch.seq_id, num_tokens)
        else:
            self._backend.trim(branch.seq_id, num_tokens)
        branch.ledger.truncate(num_tokens)

    def clear(self) -> None:
        """Forget it. Harmless when there is none."""
        if self._position is not None and self._backend.needs_snapshots:
            self._backend.drop(self._seq_id)
        self._position = None
