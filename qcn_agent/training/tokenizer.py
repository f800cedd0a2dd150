"""Train the tokenizer: byte-level BPE with Qwen2's pre-tokeniser, so a GGUF calls it model `gpt2`, pre `qwen2`.

    python -m qcn_agent.training.tokenizer --corpus corpus.jsonl.gz --out tokenizer.json

The product's own is `tokenizer.json` beside this file; weights only fit the tokenizer they were trained with.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from qcn_agent.training import source_file
from qcn_agent.training.source_file import SourceFile

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
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def train(texts: Iterator[str], vocabulary_size: int) -> Any:
    """A tokenizer of `vocabulary_size` tokens, the control tokens included, learned from `texts`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
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


def training_texts(files: Sequence[SourceFile], max_chars: int) -> Iterator[str]:
    """Code of the corpus, textbook modules, and conversations: their words must become tokens too."""
    from qcn_agent.training import documents, repairs, textbook

    rng = random.Random(0)
    num_chars = 0
    for file in rng.sample(files, len(files)):
        num_chars += min(len(file.text), MAX_FILE_CHARS)
        if num_chars > max_chars:
            break
        yield file.text[:MAX_FILE_CHARS]
    templates = textbook.trained_templates()
    for index in range(NUM_TEXTBOOK + NUM_CONVERSATIONS):
        try:
            if index < NUM_TEXTBOOK:
                yield textbook.draw_module(rng, rng.choice(templates), held_out=False).text
            else:
                parts = documents.repair(repairs.textbook_task(rng, templates, held_out=False), rng)
                yield "".join(part.text for part in parts if not part.special)
        except LookupError:  # that template has no function on this side of the rule
            continue


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vocabulary", type=int, default=8192, help="tokens")
    parser.add_argument("--max-mb", type=float, default=25, help="of the corpus")
    args = parser.parse_args()
    files = source_file.load(args.corpus)
    tokenizer = train(training_texts(files, int(args.max_mb * 1e6)), args.vocabulary)
    tokenizer.save(str(args.out))
    sample = "".join(file.text for file in files[-40:])
    print(f"{tokenizer.get_vocab_size()} tokens, {len(sample) / len(tokenizer.encode(sample).ids):.2f} characters each")


if __name__ == "__main__":
    main()
