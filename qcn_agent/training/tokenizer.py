"""Train the tokenizer: byte-level BPE with Qwen2's pre-tokeniser, so a GGUF calls it model `gpt2`, pre `qwen2`.

    python -m qcn_agent.training.tokenizer --corpus corpus.jsonl.gz --out tokenizer.json

The product's own is `tokenizer.json` beside this file; weights only fit the tokenizer they were trained with.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers

TOKENIZER = Path(__file__).with_name("tokenizer.json")
PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END_OF_TEXT = "<|endoftext|>"
CONTROL = (
    END_OF_TEXT,
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
USER_DEFINED = ("<tool_call>", "</tool_call>")  # single tokens, but text that a caller must see
MAX_FILE_CHARS = 20_000
NUM_TEXTBOOK = 3000
NUM_CONVERSATIONS = 1500


def load(path: Path = TOKENIZER) -> Any:
    """A tokenizer in whose `encode` text that spells a control token stays text (see documents.encode)."""
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def train(texts: Iterator[str], vocabulary_size: int) -> Any:
    """A tokenizer of `vocabulary_size` tokens, the control tokens included, learned from `texts`."""
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Split(Regex(PRE_TOKENIZER), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    num_learned = vocabulary_size - len(CONTROL) - len(USER_DEFINED)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=num_learned, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(CONTROL))
    tokenizer.add_tokens(list(USER_DEFINED))
    return tokenizer
