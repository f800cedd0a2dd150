"""What an engine says of itself."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class SessionStatus:
    """One conversation in the cache."""

    name: str
    num_tokens: int
    num_snapshots: int


@dataclass(frozen=True)
class RequestRecord:
    """One request that has ended. Every field is JSON-able; times are milliseconds.

    `priority` is the class that it asked for, in lower case. `ended`: "stop", "length", "deadline", "cancelled",
    "superseded" or "error". `restored_from` is the slowest tier that had part in its start: "none", "device", "host"
    or "disk"; the reused tokens are those of all tiers together. `queue_ms` includes `restore_ms`. `ttft_ms` goes from
    the request to the first token drawn; None: there was none. What a suspension made it restore again isn't counted.
    """

    session: str
    priority: str
    ended: str
    restored_from: str
    num_device_tokens: int
    num_host_tokens: int
    num_disk_tokens: int
    num_prompt_tokens: int
    num_reused_tokens: int
    num_evaluated_tokens: int
    num_generated_tokens: int
    steps_waited: int
    queue_ms: float
    restore_ms: float
    prefill_ms: float
    decode_ms: float
    ttft_ms: float | None
    ended_at: float = 0.0  # seconds since 1970


@dataclass(frozen=True)
class ContextStatus:
    """One KV cache on the device and what was done in it, in the words of `EngineStatus`.

    `roles`: "agent", "completion".
    """

    roles: tuple[str, ...]
    model_path: str
    model_name: str
    n_ctx: int
    queue_length: int
    num_requests: int
    num_evaluated_tokens: int
    num_reused_tokens: int
    num_generated_tokens: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    num_steps: int
    num_aborted_steps: int
    max_completion_steps_waited: int
    num_device_states: int
    num_host_states: int
    host_cache_bytes: int


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
    num_drafted_tokens: int
    num_accepted_tokens: int
    num_repeated_tokens: int  # read again after a wrong draft; not part of the evaluated ones
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
    requests: tuple[RequestRecord, ...]  # the latest that ended, oldest first
    engine_pid: int  # the process that holds the model
    isolation: str = "off"
    num_restarts: int = 0  # of that process, after it had ended by itself
    fault: str = ""  # why it is not started again; empty while it works
    contexts: tuple[ContextStatus, ...] = ()  # one for each (model, role); all other fields are the agent's
    completion_note: str = ""  # why completions have no model or context of their own although that was asked for


def context_of(status: EngineStatus, *roles: str) -> ContextStatus:
    """The part of an engine's status that is about its context."""
    names = (field.name for field in dataclasses.fields(ContextStatus) if field.name != "roles")
    return ContextStatus(roles, **{name: getattr(status, name) for name in names})
