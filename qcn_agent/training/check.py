"""Does llama.cpp compute what PyTorch does? Exports a checkpoint in float32 and compares logits.

python -m qcn_agent.training.check run/final.pt
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import qcn_agent.config
from qcn_agent.engine.backend import Run
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_model import load_model
from qcn_agent.training import checkpoint, tokenizer
from qcn_agent.training.export import export
from qcn_agent.training.model import Model

PROBE = "def add(a, b):\n    return a - b\n\n\nprint(add(2, 3))  # should be 5, naïvely\n" * 5
MAX_RELATIVE_ERROR = 2e-3  # llama.cpp keeps keys and values in float16


@dataclass(frozen=True)
class Comparison:
    """Of two arrays of logits: |a - b| / |a|, and the share of positions with the same arg max."""

    same_tokens: bool
    relative_error: float
    same_argmax: float


def compare(model: Model, gguf: Path) -> Comparison:
    """PyTorch's `model` against the GGUF, on the probe text, one token a call."""
    ids = tokenizer.load().encode(PROBE).ids
    with torch.no_grad():
        ours = model.eval()(torch.tensor([ids]))[0].numpy()
    config = qcn_agent.config.ModelConfig(n_ctx=1024, gpu_layers=0, max_states=4)
    backend = LlamaBackend(load_model(config, (gguf,)), config)
    try:
        same_tokens = backend.tokenize(PROBE.encode(), parse_special=False).tolist() == ids
        theirs = _logits(backend, np.array(ids, np.int32))
    finally:
        backend.close()
    error = float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
    return Comparison(same_tokens, error, float((ours.argmax(1) == theirs.argmax(1)).mean()))


def _logits(backend: LlamaBackend, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    rows = []
    for position in range(len(ids)):
        backend.decode([Run(0, ids[position : position + 1], position, True)])
        rows.append(backend.logits())
    return np.stack(rows)


def main() -> int:
    """Command line; 1 when they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    args = parser.parse_args()
    model, _ = checkpoint.load(args.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        for file_type in ("f32", "q8_0"):
            path = Path(folder, f"{file_type}.gguf")
            export(model, path, file_type=file_type)
            result = compare(model, path)
            print(f"{file_type}: {result}")
            if file_type == "f32" and not (result.same_tokens and result.relative_error < MAX_RELATIVE_ERROR):
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
