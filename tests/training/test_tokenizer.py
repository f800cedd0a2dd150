"""The tokenizer that ships, and training another."""

from pathlib import Path
from typing import Any

import pytest

from qcn_agent.training import tokenizer as module
from qcn_agent.training.source_file import SourceFile

pytestmark = pytest.mark.torch


def test_the_product_s_tokenizer_has_all_tokens(tokenizer: Any) -> None:
    """8192 tokens, with every control token and both words of a call."""
    assert tokenizer.get_vocab_size() == 8192
    assert all(tokenizer.token_to_id(token) is not None for token in module.CONTROL + module.USER_DEFINED)


def test_calls_are_single_tokens_of_text(tokenizer: Any) -> None:
    """`<tool_call>` is one token, although it is text."""
    assert len(tokenizer.encode("<tool_call>").ids) == 1


def test_any_text_comes_back(tokenizer: Any) -> None:
    """Bytes are the alphabet: nothing is unknown."""
    text = "def ä(x):\n\treturn '漢字 🎉' + \"\\0\"\n"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_another_one_can_be_trained(tokenizer: Any, tmp_path: Path) -> None:
    """Of the wanted size, with the same control tokens, and readable again."""
    trained = module.train(iter(["def f(a):\n    return a\n" * 20, "while True:\n    pass\n" * 20]), 300)
    trained.save(str(tmp_path / "t.json"))
    again = module.load(tmp_path / "t.json")
    assert again.decode(again.encode("return a").ids) == "return a"
    assert again.token_to_id("<|im_end|>") is not None


def test_training_texts_are_code_modules_and_conversations(
    corpus_file: SourceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three sources are there, and control tokens are not spelled out."""
    monkeypatch.setattr(module, "NUM_TEXTBOOK", 3)
    monkeypatch.setattr(module, "NUM_CONVERSATIONS", 3)
    texts = list(module.training_texts([corpus_file], 10**6))
    assert texts[0] == corpus_file.text
    assert any("<function=edit_file>" in text for text in texts)
    assert not any("<|im_start|>" in text for text in texts)
