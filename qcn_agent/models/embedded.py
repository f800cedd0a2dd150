"""The embedded default model, `qcn-mini`: see MODEL_CARD.md beside this file."""

from pathlib import Path

NAME = "qcn-mini"


def embedded_model_path() -> Path:
    """Path of the GGUF that ships inside the package."""
    return Path(__file__).with_name("qcn-mini-q8_0.gguf")
