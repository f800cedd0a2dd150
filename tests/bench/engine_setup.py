"""How the benchmark sets our engine up, what it reads of its status, and what it may hold.

The one place to adapt when settings or status fields change: fields that don't exist yet are left out or read as zero.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qcn_agent import gguf
from qcn_agent.config import ModelConfig
from qcn_agent.engine import generator, memory
from qcn_agent.engine.generator import GenerationRequest, SamplingParams

MAX_DEVICE_STATES = 12
HOST_BYTES = 4 << 30
STATE_BYTES = int(75.4 * (1 << 20))  # of the 80B model
TOKEN_BYTES = 24 << 10
DISK_MB = 4096


@dataclass(frozen=True)
class Setup:
    """What the benchmark chooses; the same numbers go to the peer."""

    path: Path
    n_ctx: int
    n_threads: int


@dataclass(frozen=True)
class Held:
    """What an engine holds beside its weights: recurrent states and tokens' KV, on the device and in host memory."""

    device_states: int = 0
    host_states: int = 0
    host_tokens: int = 0

    @property
    def host_bytes(self) -> int:
        """Host memory at the geometry of the 80B model."""
        return self.host_states * STATE_BYTES + self.host_tokens * TOKEN_BYTES

    @property
    def is_allowed(self) -> bool:
        """Whether this is within the limits of the benchmark."""
        return self.device_states <= MAX_DEVICE_STATES and self.host_bytes <= HOST_BYTES

    def most(self, other: "Held") -> "Held":
        """The greater of each number."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Held(*(max(pair) for pair in pairs))


@dataclass(frozen=True)
class Figures:
    """What the benchmark reads of `Engine.status()`. None: this engine has no such field yet."""

    held: Held
    num_sessions: int
    num_disk_bytes: int | None
    pending_spill_bytes: int | None
    selftest: str


def model_bytes_of(setup: Setup) -> tuple[int, int]:
    """(Bytes of a state, bytes of a token's KV) of the benchmark's model."""
    estimate = memory.estimate(gguf.check(setup.path), ModelConfig(), setup.n_ctx, 1, gpu=False)
    return estimate.states, max(1, estimate.kv_cache // setup.n_ctx)


def host_budget_mb(setup: Setup) -> int:
    """MiB of this model that can't be more than `HOST_BYTES` of the 80B model, whatever they hold."""
    state, token = model_bytes_of(setup)
    share = min(state / STATE_BYTES, token / TOKEN_BYTES) if state else token / TOKEN_BYTES
    return max(1, int(min(1.0, share) * HOST_BYTES) >> 20)


def engine_config(setup: Setup) -> ModelConfig:
    """Settings of our engine: `MAX_DEVICE_STATES` sequence ids in all, and host memory within the limit."""
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    wanted: dict[str, Any] = {
        "n_ctx": setup.n_ctx,
        "n_threads": setup.n_threads,
        "max_states": MAX_DEVICE_STATES,
        "host_cache_mb": host_budget_mb(setup),
        "disk_cache_mb": DISK_MB,
    }
    if "max_states" not in known:
        wanted |= {"max_sessions": 4, "max_snapshots": MAX_DEVICE_STATES - 5}  # and one to spare
    return ModelConfig(**{name: value for name, value in wanted.items() if name in known})


def engine_request(
    session: str, prompt: list[int], num_new: int, boundaries: tuple[int, ...], *, is_completion: bool
) -> GenerationRequest:
    """A greedy request. A completion has the highest priority where there are priorities."""
    tokens = np.array(prompt, np.int32)
    request = GenerationRequest(session, tokens, num_new, boundaries, SamplingParams(temperature=0.0))
    priority = getattr(generator, "Priority", None)
    if priority is None or not is_completion:
        return request
    return dataclasses.replace(request, **{"priority": priority.COMPLETION})


def read_status(status: Any) -> Figures:
    """The figures of an engine's status. Without its own count, device states are the sequences and snapshots held."""
    sessions = getattr(status, "sessions", ())
    counted = sum(1 + getattr(session, "num_snapshots", 0) for session in sessions)
    host_states = getattr(status, "peak_host_states", getattr(status, "num_host_states", 0))
    host_tokens = getattr(status, "peak_host_tokens", getattr(status, "num_host_tokens", 0))
    return Figures(
        held=Held(getattr(status, "num_device_states", counted), host_states, host_tokens),
        num_sessions=len(sessions),
        num_disk_bytes=getattr(status, "num_disk_bytes", None),
        pending_spill_bytes=getattr(status, "pending_spill_bytes", None),
        selftest=getattr(status, "selftest", ""),
    )
