"""How the benchmark sets our engine up, what it reads of its status, and what it may hold.

The one place to adapt when settings or status fields change.
"""

from dataclasses import dataclass

import numpy as np

from qcn_agent import gguf
from qcn_agent.benchmark.held import HOST_BYTES, MAX_DEVICE_STATES, STATE_BYTES, TOKEN_BYTES, Held, Setup
from qcn_agent.config import ModelConfig
from qcn_agent.engine import memory
from qcn_agent.engine.generator import GenerationRequest, Priority, SamplingParams
from qcn_agent.engine.status import EngineStatus

DISK_MB = 4096


@dataclass(frozen=True)
class Figures:
    """What the benchmark reads of `Engine.status()`."""

    held: Held
    num_sessions: int
    num_disk_bytes: int
    pending_spill_bytes: int
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
    return ModelConfig(
        n_ctx=setup.n_ctx,
        n_threads=setup.n_threads,
        max_states=MAX_DEVICE_STATES - 1,  # and one to spare
        host_cache_mb=host_budget_mb(setup),
        disk_cache_mb=DISK_MB,
    )


def engine_request(
    session: str, prompt: list[int], num_new: int, boundaries: tuple[int, ...], *, is_completion: bool
) -> GenerationRequest:
    """A greedy request. A completion has the highest priority where there are priorities."""
    tokens = np.array(prompt, np.int32)
    priority = Priority.COMPLETION if is_completion else Priority.INTERACTIVE
    return GenerationRequest(session, tokens, num_new, boundaries, SamplingParams(temperature=0.0), priority=priority)


def read_status(status: EngineStatus) -> Figures:
    """The figures of an engine's status. One more device state is the spare one."""
    return Figures(
        held=Held(status.num_device_states + 1, status.peak_host_states, status.peak_host_tokens),
        num_sessions=len(status.sessions),
        num_disk_bytes=status.num_disk_bytes,
        pending_spill_bytes=status.pending_spill_bytes,
        selftest=status.selftest,
    )
