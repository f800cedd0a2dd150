"""Checkpoints: weights and shape, and for a run to go on, the optimisers and counters."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from qcn_agent.training.model import Model, ModelConfig


def save(model: Model, path: Path, *, half: bool = False, **extra: Any) -> None:
    """Write the file atomically. `half` stores matrices as float16: for export and warm starts, not for resuming."""
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if half:
        weights = {name: tensor.half() if tensor.dim() == 2 else tensor for name, tensor in weights.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    torch.save({"config": asdict(model.c), "model": weights, **extra}, temporary)
    temporary.replace(path)


def load(path: Path, device: str = "cpu") -> tuple[Model, dict[str, Any]]:
    """The model in float32 on `device`, and everything else the file holds."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    model = Model(ModelConfig(**content.pop("config")))
    model.load_state_dict({name: tensor.float() for name, tensor in content.pop("model").items()})
    return model.to(device), content
