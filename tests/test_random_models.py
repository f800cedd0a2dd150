"""Random models are what they say: a hybrid with the embedded vocabulary, one with attention only, one without text."""

from pathlib import Path

import gguf as gguf_package
import numpy as np
import pytest

from qcn_agent import gguf
from qcn_agent.models.embedded import embedded_model_path
from tests.random_models import CONTROL, HYBRID, HybridShape, write_attention, write_hybrid


def test_hybrid_mixes_recurrent_and_attention_layers(tmp_path: Path) -> None:
    """8 layers, each fourth with keys, the others with a state; context enough for the long traces."""
    write_hybrid(tmp_path / "m.gguf")
    header = gguf.read_header(tmp_path / "m.gguf")
    names = {tensor.name for tensor in header.tensors}
    attention = [layer for layer in range(8) if f"blk.{layer}.attn_k.weight" in names]
    recurrent = [layer for layer in range(8) if f"blk.{layer}.ssm_out.weight" in names]
    assert header.architecture == "qwen3next"
    assert (attention, recurrent) == ([3, 7], [0, 1, 2, 4, 5, 6])
    assert header.metadata["qwen3next.context_length"] == HYBRID.n_ctx >= 65_536


def test_hybrid_has_the_embedded_vocabulary(tmp_path: Path) -> None:
    """Text becomes the same tokens as with the embedded model."""
    write_hybrid(tmp_path / "m.gguf", HybridShape(num_layers=4))
    ours, embedded = (gguf.read_header(path) for path in (tmp_path / "m.gguf", embedded_model_path()))
    assert ours.metadata["tokenizer.ggml.tokens"] == embedded.metadata["tokenizer.ggml.tokens"]
    assert ours.metadata["tokenizer.ggml.merges"] == embedded.metadata["tokenizer.ggml.merges"]


def test_control_tokens_have_no_logit(tmp_path: Path) -> None:
    """Their rows of the output are zero, all others are not: a greedy answer never ends early."""
    write_hybrid(tmp_path / "m.gguf", HybridShape(num_layers=4))
    reader = gguf_package.GGUFReader(tmp_path / "m.gguf")
    output = next(tensor.data for tensor in reader.tensors if tensor.name == "output.weight")
    is_control = np.array(reader.fields["tokenizer.ggml.token_type"].contents()) == CONTROL
    assert is_control.any()
    assert np.array_equal(~output.any(axis=1), is_control)


def test_same_seed_same_file(tmp_path: Path) -> None:
    """A model can be made again."""
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        write_hybrid(path, HybridShape(num_layers=4), seed=seed)
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again
    assert first != other


@pytest.mark.parametrize(("with_vocabulary", "model"), [(True, "gpt2"), (False, "no_vocab")])
def test_attention_model(tmp_path: Path, with_vocabulary: bool, model: str) -> None:
    """A llama with or without a tokenizer, of the same size."""
    write_attention(tmp_path / "m.gguf", with_vocabulary=with_vocabulary)
    header = gguf.read_header(tmp_path / "m.gguf")
    assert header.architecture == "llama"
    assert header.metadata["tokenizer.ggml.model"] == model
