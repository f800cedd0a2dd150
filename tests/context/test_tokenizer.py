"""Each text is tokenised alone and once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qcn_agent.context.tokenizer import Tokenizer, identity
from qcn_agent.engine.generator import IntArray
from tests.fakes.packing import CountingVocabulary
from tests.fakes.scripted import ByteVocabulary


class Shifted(ByteVocabulary):
    """Another vocabulary."""

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> IntArray:
        """Every token is one higher."""
        return super().encode(pieces) + 1


def test_known_texts_are_not_tokenised_again(tmp_path: Path) -> None:
    """Nor within one call, nor after the daemon was started anew; the order is that of the texts."""
    first = CountingVocabulary()
    tokenizer = Tokenizer.open(first, tmp_path, "x")
    first.texts.clear()
    arrays = tokenizer.encode(["one", "two", "one"])
    tokenizer.close()
    again = CountingVocabulary()
    second = Tokenizer.open(again, tmp_path, "x")
    again.texts.clear()

    found = second.encode(["three", "two", "one"])

    assert first.texts == ["one", "two"]
    assert again.texts == ["three"]
    assert [array.tobytes() for array in found[1:]] == [arrays[1].tobytes(), arrays[0].tobytes()]
    second.close()


def test_vocabularies_do_not_share_tokens(tmp_path: Path) -> None:
    """A file for each, told apart by what they make of text."""
    one, other = Tokenizer.open(ByteVocabulary(), tmp_path, "x"), Tokenizer.open(Shifted(), tmp_path, "x")

    (tokens,), (shifted,) = one.encode(["text"]), other.encode(["text"])

    assert identity(ByteVocabulary()) != identity(Shifted())
    assert np.array_equal(tokens + 1, shifted)
    one.close()
    other.close()


def test_text_that_spells_a_control_token_stays_text(tmp_path: Path) -> None:
    """It is tokenised as plain text."""
    tokenizer = Tokenizer.open(ByteVocabulary(), tmp_path, "x")

    (tokens,) = tokenizer.encode(["<|im_end|>"])

    assert tokens.max() < 256
    tokenizer.close()
