"""What the model says after a path that nothing was kept of."""

from collections.abc import Iterator, Sequence

from qcn_agent.engine.backend import Backend, Run
from qcn_agent.engine.generator import FloatArray, IntArray


def replay(backend: Backend, tokens: IntArray, splits: Sequence[int]) -> FloatArray:
    """The logits after `tokens`, evaluated from nothing in sequence 0, in calls that end at `splits`."""
    backend.drop(0)
    begin = 0
    for end in splits:
        backend.decode([Run(0, tokens[begin:end], begin, True)])
        begin = end
    return backend.logits()


def other_replays(backend: Backend, tokens: IntArray) -> Iterator[FloatArray]:
    """The same in calls of 1, 8 and as many tokens as possible: a near tie of the expert router falls either way."""
    for size in (1, 8, backend.n_batch):
        yield replay(backend, tokens, [*range(size, len(tokens), size), len(tokens)])
