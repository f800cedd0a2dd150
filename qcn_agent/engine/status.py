"""What an engine says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SessionStatus:
    """One conversation in the cache."""

    name: str
    num_tokens: int
    num_snapshots: int


@dataclass(frozen=True)
class EngineStatus:
    """What is loaded, what the build can use, and what was done. Every field is JSON-able."""

    model_path: str
    model_name: str
    architecture: str
    num_params: int
    model_bytes: int
    n_ctx: int
    state_bytes: int
    build: str
    system: str
    devices: tuple[str, ...]
    gpu_offload: bool
    mmap: bool
    selftest: str
    num_requests: int
    num_evaluated_tokens: int
    num_reused_tokens: int
    num_generated_tokens: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    decode_step_ms: float  # one call of the decode loop, of one row or several
    prefill_knee_tokens: int  # smaller prefill calls waste time
    num_steps: int  # calls of the model
    num_aborted_steps: int
    num_suspended: int
    num_superseded: int
    num_late: int
    max_completion_steps_waited: int
    queue_length: int
    num_device_states: int
    num_host_states: int
    num_host_tokens: int
    peak_host_states: int
    peak_host_tokens: int
    host_cache_bytes: int
    num_disk_bytes: int
    pending_spill_bytes: int  # what a crash would lose now
    num_restored_host_tokens: int
    num_restored_disk_tokens: int
    sessions: tuple[SessionStatus, ...]
    engine_pid: int  # the process that holds the model
    isolation: str = "off"
    num_restarts: int = 0  # of that process, after it had ended by itself
