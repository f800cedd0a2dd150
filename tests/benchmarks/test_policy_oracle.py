"""The model that knows the recorded text."""

import numpy as np
import pytest

from qcn_agent.engine.backend import Backend
from qcn_agent.engine.text import LlamaVocabulary
from tests.bench.policy_oracle import LOST, Recording, Speaker
from tests.bench.typing_traces import Passage

PASSAGE = Passage("import os\n\n", "first = alpha + beta\nsecond = gamma\n", "\nlast = 1\n")


def test_a_sure_model_says_the_rest() -> None:
    """From wherever the text before the cursor ends."""
    known = Recording(PASSAGE)
    assert known.answer("import os\n\nfirst = al") == "pha + beta\nsecond = gamma\n"
    assert known.answer("beta\nsecond = ") == "gamma\n"


def test_off_the_passage_it_is_lost() -> None:
    """After a slip, or a guess that was wrong."""
    assert Recording(PASSAGE).answer("import os\n\nfirst = alq") == LOST


def test_an_unsure_model_errs_in_words_until_they_are_begun() -> None:
    """As long as they are; two letters are enough for it."""
    answer = Recording(PASSAGE, 0.0).answer("import os\n\n")
    assert answer == "gjstu = bmqib + cfub\ntfdpoe = hbnnb\n"
    assert Recording(PASSAGE, 0.0).answer("import os\n\nfi").startswith("rst = bmqib")


def test_skill_is_a_share_of_words() -> None:
    """Of many words about that share is foreseen, always the same ones."""
    text = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(500))
    answer = Recording(Passage("", text, ""), 0.8).answer("")
    num_right = sum(one == other for one, other in zip(answer.split(), text.split(), strict=True))
    assert 360 <= num_right <= 440
    assert answer == Recording(Passage("", text, ""), 0.8).answer("")


def test_is_right_compares_with_what_is_typed_next() -> None:
    """To the letter."""
    known = Recording(PASSAGE)
    assert known.is_right("import os\n\nfirst", " = alpha")
    assert not known.is_right("import os\n\nfirst", "= alpha")


@pytest.mark.parametrize("order", ["psm", "spm"])
def test_a_speaker_finds_the_prompt_in_a_path(real: Backend, order: str) -> None:
    """In both orders; behind the answer comes the end of generation."""
    vocabulary = LlamaVocabulary(real)
    end = next(token for token in range(real.n_vocab) if real.is_end(token))
    speaker = Speaker(Recording(PASSAGE), vocabulary, end)
    prefix, suffix = [("<|fim_prefix|>", True), ("beta\nsecond = ", False)], [("<|fim_suffix|>", True), ("x", False)]
    pieces = [*prefix, *suffix] if order == "psm" else [*suffix, *prefix]
    path = vocabulary.encode([*pieces, ("<|fim_middle|>", True)])
    said: list[int] = []
    while end not in said:
        said.append(speaker(np.concatenate([path, np.array(said, np.int32)])))
    assert speaker.prefix(path) == "beta\nsecond = "
    assert vocabulary.decode(np.array(said[:-1], np.int32)) == "gamma\n"


def test_a_path_without_markers_goes_on_for_ever(real: Backend) -> None:
    """An agent's."""
    speaker = Speaker(Recording(PASSAGE), LlamaVocabulary(real), 0)
    assert speaker(np.array([300, 301], np.int32)) == 301
