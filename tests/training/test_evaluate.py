"""Holes for the evaluation of completion, filled through the Generator protocol."""

import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcn_agent.engine.generator import Event, Finished, GenerationRequest, IntArray, Usage
from qcn_agent.training import evaluate
from qcn_agent.training.evaluate import FimResult, Hole

TEXT = 'import os\n\n\ndef first(items):\n    """Return the first."""\n    result = items[0]\n    return result\n'


class Bytes:
    """A vocabulary of bytes; control tokens are left out."""

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> IntArray:
        """Bytes of all pieces."""
        return np.frombuffer("".join(text for text, _ in pieces).encode(), np.uint8).astype(np.int32)

    def decode(self, tokens: IntArray, *, special: bool = False) -> str:
        """Text of the bytes."""
        return bytes(int(token) for token in tokens if token < 256).decode()

    def is_end(self, token: int) -> bool:
        """One token beyond the bytes ends."""
        return token == 256


class Scripted:
    """A generator that answers with given texts, and keeps what it was asked."""

    vocabulary = Bytes()
    n_ctx = 4096

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.requests: list[GenerationRequest] = []

    def drop_session(self, name: str) -> None:
        """Nothing is kept."""

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """The next answer, ended."""
        self.requests.append(request)
        tokens = np.array([*self.answers.pop(0).encode(), 256], np.int32)
        yield Finished("stop", tokens, Usage())


async def test_answers_are_compared_exactly_and_by_first_line() -> None:
    """An exact answer counts twice, one that goes on after the right line once, a wrong one not at all."""
    hole = Hole("a = ", "1 + 2", "\nb = 3\n")
    generator = Scripted("1 + 2", "1 + 2\nc = 4", "3")
    assert await evaluate.evaluate(generator, [hole] * 3) == FimResult(3, 1, 2)


async def test_a_hole_is_asked_for_greedily() -> None:
    """Prefix, suffix and middle tokens in the trained order, temperature 0."""
    generator = Scripted("x")
    await evaluate.complete(generator, Hole("before", "middle", "after"))
    (request,) = generator.requests
    prompt = Bytes().decode(request.prompt)
    assert prompt == "<|fim_prefix|>before<|fim_suffix|>after<|fim_middle|>"
    assert request.sampling.temperature == 0.0


def test_a_hole_is_one_line_of_code(rng: random.Random) -> None:
    """Prefix, middle and suffix are the text; the middle is inside one line of the function."""
    start = TEXT.index("def")
    for _ in range(50):
        hole = evaluate.draw_hole(rng, TEXT, start)
        assert hole is not None
        assert hole.prefix + hole.middle + hole.suffix == TEXT
        assert "\n" not in hole.middle and hole.middle
        assert hole.prefix.startswith("import os")


def test_a_text_without_lines_has_no_hole(rng: random.Random) -> None:
    """Short lines are not asked for."""
    assert evaluate.draw_hole(rng, "a = 1\nb = 2\n", 0) is None


def test_holes_are_always_the_same() -> None:
    """The evaluation asks the same questions of every model."""
    first, second = (evaluate.holes(lambda rng: (TEXT, 0), 5) for _ in range(2))
    assert first == second and len(first) == 5


def test_too_few_texts_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source without holes is not silently scored."""
    monkeypatch.setattr(evaluate, "NUM_DRAWS", 2)
    with pytest.raises(LookupError):
        evaluate.holes(lambda rng: ("a\n", 0), 3)


def test_sets_are_held_out_modules() -> None:
    """Without a corpus: functions of known and of unknown templates."""
    sets = evaluate.hole_sets([], 4)
    assert {name: len(found) for name, found in sets.items()} == {"known": 4, "unknown": 4}


@pytest.mark.torch
def test_the_loss_of_a_checkpoint_is_measured(tiny_model: Any, tokenizer: Any, tmp_path: Path) -> None:
    """A random model is near the logarithm of its vocabulary on held-out repairs."""
    from qcn_agent.training import checkpoint

    checkpoint.save(tiny_model, tmp_path / "a.pt")
    losses = evaluate.validation_loss(tmp_path / "a.pt", [])
    assert set(losses) == {"repair_known", "repair_unknown"}
    assert all(8.5 < loss < 9.6 for loss in losses.values())
