"""Token traces for the engine and its peer: what is asked, in which order, and how little of it is new.

A trace is data, made from a seed; `shrink` makes its lengths so many times smaller. An answer that a later prompt
contains stands there as `AnswerOf(step)`: each side continues its own answers, and both make the same number of tokens.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

TOKEN_RANGE = (300, 3800)  # ordinary tokens of any vocabulary
FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE = 1, 2, 3  # markers of the traces by ids: any tokens that the text doesn't use
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class AnswerOf:
    """Whatever the asked side answered to the step of this index."""

    step: int


Piece = Tokens | AnswerOf


@dataclass(frozen=True)
class Step:
    """One request. Its prompt is the pieces one after another; their ends are boundaries (messages, blocks).

    `label` groups steps of a trace that have a target of their own.
    """

    session: str
    pieces: tuple[Piece, ...]
    num_new: int = 4
    label: str = ""
    is_completion: bool = False

    def prompt(self, answers: Sequence[Tokens]) -> Tokens:
        """The token path, given the answers to all earlier steps."""
        return tuple(token for piece in self.pieces for token in _resolved(piece, answers))

    def boundaries(self, answers: Sequence[Tokens]) -> tuple[int, ...]:
        """Where the pieces end, in tokens; the end of the prompt is the last."""
        ends, end = [], 0
        for piece in self.pieces:
            end += len(_resolved(piece, answers))
            ends.append(end)
        return tuple(ends)


@dataclass(frozen=True)
class Trace:
    """Steps in order, and how their ideal is counted."""

    name: str
    steps: tuple[Step, ...]
    ideal: "Ideal"


Ideal = Callable[[Sequence[Tokens], Sequence[Tokens]], list[int]]


def _resolved(piece: Piece, answers: Sequence[Tokens]) -> Tokens:
    return answers[piece.step] if isinstance(piece, AnswerOf) else piece


def num_common(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the common prefix."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))


class PathTrie:
    """All token paths that were ever seen."""

    def __init__(self) -> None:
        self._root: dict[int, dict] = {}  # type: ignore[type-arg]

    def add(self, path: Iterable[int]) -> int:
        """Take a path in. How many of its tokens were new."""
        node, num_new = self._root, 0
        for token in path:
            if token not in node:
                node[token] = {}
                num_new += 1
            node = node[token]
        return num_new


def ideal(prompts: Sequence[Tokens], answers: Sequence[Tokens]) -> list[int]:
    """For each step the prompt tokens that are in no earlier prompt or answer."""
    trie, counts = PathTrie(), []
    for prompt, answer in zip(prompts, answers, strict=True):
        counts.append(trie.add(prompt))
        trie.add((*prompt, *answer))
    return counts


def ideal_of_neighbours(prompts: Sequence[Tokens], answers: Sequence[Tokens]) -> list[int]:
    """For each step the tokens beyond the common prefix with the prompt before; answers don't count."""
    before = ((), *prompts[:-1])
    return [len(prompt) - num_common(prompt, last) for prompt, last in zip(prompts, before, strict=True)]


class _Draw:
    """Random tokens, the same for the same seed and trace; `shrink` times fewer than asked for, but at least 8."""

    def __init__(self, seed: int, name: str, shrink: int) -> None:
        self.random = random.Random(f"{seed}/{name}")  # noqa: S311 - reproducible, not secret
        self._shrink = shrink

    def __call__(self, count: int) -> Tokens:
        count = min(count, max(8, count // self._shrink))
        return tuple(self.random.randrange(*TOKEN_RANGE) for _ in range(count))


def agent(seed: int, shrink: int = 1) -> Trace:
    """20 appended turns over a head of 1,500 tokens: 200 new ones each, and the answer before."""
    draw = _Draw(seed, "agent", shrink)
    pieces: list[Piece] = [draw(1500)]
    steps = []
    for turn in range(20):
        pieces.append(draw(200))
        steps.append(Step("agent", tuple(pieces), 8))
        pieces.append(AnswerOf(turn))
    return Trace("agent", tuple(steps), ideal)


def retry(seed: int, shrink: int = 1) -> Trace:
    """As `agent` without the answers; after each fourth turn the last message is replaced."""
    draw = _Draw(seed, "retry", shrink)
    pieces: list[Piece] = [draw(1500)]
    steps = []
    for turn in range(20):
        steps.append(Step("agent", (*pieces, message := draw(200)), 8))
        if turn % 4 == 3:
            steps.append(Step("agent", (*pieces, message := draw(200)), 8, "retry"))
        pieces.append(message)
    return Trace("retry", tuple(steps), ideal)


def two(seed: int, shrink: int = 1) -> Trace:
    """Two agents take turns, 20 each of 100 new tokens."""
    draw = _Draw(seed, "two", shrink)
    paths: dict[str, list[Piece]] = {name: [draw(1500)] for name in ("a", "b")}
    steps = []
    for _ in range(20):
        for name, pieces in paths.items():
            pieces.append(draw(100))
            steps.append(Step(name, tuple(pieces)))
    return Trace("two", tuple(steps), ideal)


def branch(seed: int, shrink: int = 1) -> Trace:
    """5 continuations of 60 tokens from each of 6 past points of a session of 6,000 tokens, shuffled.

    The points are no boundaries. The session itself is not measured.
    """
    draw = _Draw(seed, "branch", shrink)
    base = draw(6000)
    points = draw.random.sample(range(len(base) // 12, len(base) * 59 // 60), 6)
    order = [point for point in points for _ in range(5)]
    draw.random.shuffle(order)
    steps, seen = [Step("branch", (base,), label="base")], set()
    for point in order:
        label = "again" if point in seen else "first"
        steps.append(Step("branch", ((*base[:point], *draw(60)),), label=label))
        seen.add(point)
    return Trace("branch", tuple(steps), ideal)


def heads(seed: int, shrink: int = 1) -> Trace:
    """12 sessions over 3 shared heads of 1,500 tokens, 8 rounds of 80 new ones."""
    draw = _Draw(seed, "heads", shrink)
    shared = [draw(1500) for _ in range(3)]
    paths: list[list[Piece]] = [[shared[number % 3]] for number in range(12)]
    steps = []
    for _ in range(8):
        for number, pieces in enumerate(paths):
            pieces.append(draw(80))
            steps.append(Step(f"head-{number}", tuple(pieces)))
    return Trace("heads", tuple(steps), ideal)


def _fim_steps(draw: _Draw, num_keys: int) -> list[Step]:
    """Keys typed before a suffix of 150 tokens: head, prefix that grows by a token, suffix, middle."""
    head, prefix, suffix = draw(600), draw(500), draw(150)
    steps = []
    for _ in range(num_keys):
        prefix += draw(1)
        rest = (FIM_SUFFIX, *suffix, FIM_MIDDLE)
        steps.append(Step("fim", (head, (FIM_PREFIX, *prefix), rest), 8, "fim", is_completion=True))
    return steps


def fim(seed: int, shrink: int = 1) -> Trace:
    """20 keys of fill-in-the-middle by ids, in the order prefix, suffix, middle."""
    return Trace("fim", tuple(_fim_steps(_Draw(seed, "fim", shrink), 20)), ideal_of_neighbours)


def fim_between(seed: int, shrink: int = 1) -> Trace:
    """20 keys between two turns of an agent of 4,000 tokens; the second turn is labelled `agent`."""
    draw = _Draw(seed, "fim-between", shrink)
    base = draw(4000)
    first = Step("agent", (base,), label="base")
    second = Step("agent", (base, draw(200)), label="agent")
    return Trace("fim-between", (first, *_fim_steps(draw, 20), second), ideal)


TRACES: Mapping[str, Callable[..., Trace]] = {
    "agent": agent,
    "retry": retry,
    "two": two,
    "branch": branch,
    "heads": heads,
    "fim": fim,
    "fim-between": fim_between,
}
