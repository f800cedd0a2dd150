"""What the user's benchmark is tested with: a small engine over the embedded model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qcn_agent.benchmark.local import LocalArm
from qcn_agent.config import ModelConfig
from qcn_agent.models.embedded import embedded_model_path

SMALL = ModelConfig(n_ctx=4096, n_ubatch=64, n_threads=1, max_states=8, host_cache_mb=16)


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    """Where the local side writes its trace."""
    return tmp_path / "trace.json"


@pytest.fixture
def local(trace_file: Path) -> Iterator[LocalArm]:
    """Our side, started."""
    arm = LocalArm(SMALL, embedded_model_path(), trace=trace_file)
    arm.start()
    yield arm
    arm.close()
