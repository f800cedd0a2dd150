"""What of a prompt the engine has probably cached: a guess for the planner from the prompts that were sent lately."""

from collections import deque

import numpy as np

from qcn_agent.completion.prompt import FimPrompt
from qcn_agent.engine.generator import IntArray

_PROMPTS = 16


class PromptMemory:
    """The latest prompts. A hybrid model continues from snapshots only: boundaries, branch points and ends."""

    def __init__(self) -> None:
        self._sent: deque[tuple[IntArray, frozenset[int]]] = deque(maxlen=_PROMPTS)

    def add(self, prompt: FimPrompt) -> None:
        """It was read to its end. Where it parted from an earlier one there is a snapshot now, too."""
        if not len(prompt.tokens):
            return
        branch = max((shared(prompt.tokens, tokens) for tokens, _ in self._sent), default=0)
        self._sent.append((prompt.tokens, frozenset((*prompt.boundaries, branch, len(prompt.tokens)))))

    def num_cached(self, prompt: IntArray) -> int:
        """The longest beginning of `prompt` that some snapshot covers; its last token is always read."""
        best = 0
        for tokens, points in self._sent:
            common = shared(prompt, tokens)
            best = max(best, max((point for point in points if point <= common), default=0))
        return min(best, max(0, len(prompt) - 1))

    def forget(self) -> None:
        """The engine has lost it: another model, or no room."""
        self._sent.clear()


def shared(one: IntArray, other: IntArray) -> int:
    """Number of tokens that two prompts have in common at their start."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
