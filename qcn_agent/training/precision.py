"""Where bfloat16 pays."""

from functools import cache
from pathlib import Path
from typing import Any

import torch


def autocast(device: str) -> Any:
    """bfloat16 products on CUDA and on CPUs that have them in hardware; float32 elsewhere, where it is faster."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda" or _cpu_has_bfloat16())


@cache
def _cpu_has_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
