"""The latest requests and what each of them cost, without a word of what was asked."""

import time
from collections.abc import Callable

from qcn_agent.engine.sequence import Sequence
from qcn_agent.engine.status import RequestRecord

MAX_RECORDS = 50


Listener = Callable[[Sequence, RequestRecord], None]


class RequestLog:
    """Written by the engine thread. `latest` may be read by any: it is replaced, never changed."""

    def __init__(self) -> None:
        self.latest: tuple[RequestRecord, ...] = ()  # oldest first
        self.listener: Listener | None = None  # called on the engine thread

    def add(self, sequence: Sequence, ended: str) -> None:
        """Record a request that ends now, in the way `ended`."""
        record = to_record(sequence, ended)
        self.latest = (*self.latest[1 - MAX_RECORDS :], record)
        if self.listener is not None:
            self.listener(sequence, record)


def to_record(sequence: Sequence, ended: str) -> RequestRecord:
    """The costs of a request up to now."""
    usage, origin = sequence.usage(), sequence.origin
    first_ms = 1e3 * (sequence.first_token_at - sequence.submitted_at)
    return RequestRecord(
        session=sequence.request.session,
        priority=sequence.request.priority.name.lower(),
        ended=ended,
        restored_from=origin.slowest.name.lower(),
        num_device_tokens=origin.num_device_tokens,
        num_host_tokens=origin.num_host_tokens,
        num_disk_tokens=origin.num_disk_tokens,
        num_prompt_tokens=usage.num_prompt_tokens,
        num_reused_tokens=usage.num_reused_tokens,
        num_evaluated_tokens=usage.num_evaluated_tokens,
        num_generated_tokens=usage.num_generated_tokens,
        steps_waited=usage.steps_waited,
        queue_ms=round(usage.queue_ms, 3),
        restore_ms=round(1e3 * sequence.restore_s, 3),
        prefill_ms=round(usage.prefill_ms, 3),
        decode_ms=round(usage.decode_ms, 3),
        ttft_ms=round(first_ms, 3) if sequence.tokens else None,
        ended_at=round(time.time(), 3),
    )
