"""What the engine has done: totals and live rates."""

from dataclasses import dataclass

from qcn_agent.engine.request_log import RequestLog

_WEIGHT = 0.2  # of the newest sample


@dataclass
class Rate:
    """Tokens per second as an exponentially weighted mean over calls; 0 before the first."""

    tokens_per_s: float = 0.0

    def add(self, num_tokens: int, seconds: float) -> None:
        """Record one call."""
        if seconds > 0:
            sample = num_tokens / seconds
            self.tokens_per_s += (_WEIGHT if self.tokens_per_s else 1.0) * (sample - self.tokens_per_s)


class EngineStats:
    """Written by the engine thread, read by any."""

    def __init__(self) -> None:
        self.requests = RequestLog()
        self.num_requests = 0
        self.num_evaluated_tokens = 0
        self.num_reused_tokens = 0
        self.num_generated_tokens = 0
        self.num_drafted_tokens = 0  # as in `Usage`
        self.num_accepted_tokens = 0
        self.num_repeated_tokens = 0
        self.num_steps = 0  # calls of the model
        self.num_aborted_steps = 0  # cut short for a completion
        self.num_suspended = 0  # generations that gave up their place for a while
        self.num_superseded = 0  # completions ended by a newer one of their session
        self.num_late = 0  # generations ended because their deadline could not be met
        self.max_completion_steps_waited = 0
        self.prefill = Rate()
        self.decode = Rate()
