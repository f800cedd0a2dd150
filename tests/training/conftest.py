"""Fixtures of the training room."""

import random
from pathlib import Path
from typing import Any

import pytest

from qcn_agent.training import source_file
from qcn_agent.training.source_file import SourceFile

MODULE = '''"""A file of the corpus."""

import os
from collections import deque


def first_words(text, count):
    """Return the first words of a text."""
    words = text.split()
    if count < 0:
        count = 0
    return words[:count]


class Store:
    """Keeps values under names."""

    def __init__(self, limit):
        self.limit = limit
        self.values = {}

    def keep(self, name, value):
        if len(self.values) >= self.limit:
            self.values.pop(next(iter(self.values)))
        self.values[name] = value
        return len(self.values)


def quicksort(items):
    """A name that a benchmark uses."""
    if len(items) < 2:
        return items
    pivot = items[0]
    return quicksort([i for i in items[1:] if i < pivot]) + [pivot] + quicksort([i for i in items[1:] if i >= pivot])
'''


@pytest.fixture
def rng() -> random.Random:
    """Always the same random numbers."""
    return random.Random(5)


@pytest.fixture
def corpus_file(tmp_path: Path) -> SourceFile:
    """One scanned file with two functions that can be used and one whose name is reserved."""
    path = tmp_path / "words.py"
    path.write_text(MODULE)
    file = source_file.scan("stdlib", path, "words.py")
    assert file is not None
    return file


@pytest.fixture
def tokenizer() -> Any:
    """The product's tokenizer; skips where the `train` extra is missing."""
    pytest.importorskip("tokenizers", reason="needs the train extra (tokenizers)")
    from qcn_agent.training import tokenizer as module

    return module.load()


@pytest.fixture
def tiny_model() -> Any:
    """A random model of every kind of layer, with the product's vocabulary; skips without the `train` extra."""
    torch = pytest.importorskip("torch", reason="needs the train extra (torch)")
    from qcn_agent.training.model import Model, ModelConfig

    torch.manual_seed(0)
    shape = {"d": 64, "layers": 4, "heads": 2, "kv_heads": 1, "head_dim": 32, "rot": 16, "k_heads": 1, "v_heads": 2}
    return Model(ModelConfig(**shape, state=32, experts=4, ff=32, ff_shared=64, chunk=16))
