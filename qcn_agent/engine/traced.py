"""The session manager and the tiers, with a trace of what they do. Without `--trace` none of this is in the way."""

import functools
import itertools
import time
from collections.abc import Sequence as Steps
from typing import Any

from qcn_agent.engine.generator import FloatArray, GenerationRequest
from qcn_agent.engine.prefix_tree import Node
from qcn_agent.engine.residency import Branch
from qcn_agent.engine.sequence import Sequence
from qcn_agent.engine.session import Prepared, SessionManager, Step
from qcn_agent.engine.status import RequestRecord
from qcn_agent.engine.tiers import Tiers
from qcn_agent.engine.trace import TraceFile

ENGINE = 0  # the track of calls of the model, and of copies


class TracedTiers(Tiers):
    """Spans `spill`: a state or a stretch of KV goes to host memory."""

    def __init__(self, trace: TraceFile, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._trace = trace

    def save_state(self, node: Node, src: int) -> None:
        """See `Tiers`."""
        begin, before = time.perf_counter(), self.arena.num_bytes
        super().save_state(node, src)
        self._note(begin, self.arena.num_bytes - before, 0)

    def save_kv(self, node: Node, src: int) -> None:
        """See `Tiers`."""
        begin, before = time.perf_counter(), self.arena.num_bytes
        super().save_kv(node, src)
        self._note(begin, self.arena.num_bytes - before, node.end - node.start)

    def _note(self, begin: float, num_bytes: int, num_tokens: int) -> None:
        if num_bytes:
            args = {"tokens": num_tokens, "bytes": num_bytes}
            self._trace.span(ENGINE, "spill", begin, time.perf_counter(), args)


class TracedSessions(SessionManager):
    """Spans `prefill`, `decode`, `restore` and `snapshot`; a call that failed, or was cut short, says so.

    Those inside others (a spill for the sake of a restore) lie within them on the track.
    """

    def __init__(self, trace: TraceFile, *args: Any, **options: Any) -> None:
        super().__init__(*args, make_tiers=functools.partial(TracedTiers, trace), **options)
        self._trace = trace
        self._running: dict[Branch, tuple[str, int]] = {}  # (class, length of the path to be read)

    def prepare(self, request: GenerationRequest) -> Prepared:
        """See `SessionManager`."""
        begin = time.perf_counter()
        prepared = super().prepare(request)
        priority, origin = request.priority.name.lower(), prepared.session.origin
        self._running[prepared.session] = priority, len(request.prompt)
        args = {
            "class": priority,
            "tokens": prepared.num_reused_tokens,
            "from": origin.slowest.name.lower(),
            "device": origin.num_device_tokens,
            "host": origin.num_host_tokens,
            "disk": origin.num_disk_tokens,
        }
        self._trace.span(ENGINE, "restore", begin, time.perf_counter(), args)
        return prepared

    def extend(self, steps: Steps[Step]) -> None:
        """See `SessionManager`."""
        first = steps[0]
        priority, num_to_read = self._running.get(first.session, ("", 0))
        name = "prefill" if len(first.session.ledger) < num_to_read else "decode"
        args = {"class": priority, "tokens": sum(len(step.tokens) for step in steps), "rows": len(steps)}
        begin = time.perf_counter()
        try:
            super().extend(steps)
        except Exception as error:
            args = {**args, "failed": type(error).__name__}
            raise
        finally:
            self._trace.span(ENGINE, name, begin, time.perf_counter(), args)

    def snapshot(self, session: Branch, *, is_anchor: bool, logits: FloatArray | None = None) -> bool:
        """See `SessionManager`."""
        begin = time.perf_counter()
        is_kept = super().snapshot(session, is_anchor=is_anchor, logits=logits)
        args = {"class": self._running.get(session, ("", 0))[0], "tokens": len(session.ledger), "anchor": is_anchor}
        self._trace.span(ENGINE, "snapshot", begin, time.perf_counter(), args)
        return is_kept

    def release(self, session: Branch) -> None:
        """See `SessionManager`."""
        self._running.pop(session, None)
        super().release(session)

    def counters(self) -> dict[str, float]:
        """Readable from any thread."""
        return {
            "device states": self.cache.num_device_states,
            "host bytes": self.tiers.arena.num_bytes,
            "pending spill": self.pending_spill_bytes,
        }


class RequestTracks:
    """A track for each request that has ended: queue, prefill, decode. A listener of `RequestLog`."""

    def __init__(self, trace: TraceFile) -> None:
        self._trace = trace
        self._numbers = itertools.count(1)

    def __call__(self, sequence: Sequence, record: RequestRecord) -> None:
        """Write the track."""
        track, now = next(self._numbers), sequence.clock()
        self._trace.name_track(track, f"{record.priority} {track}: {record.session}")
        began = sequence.prefill_at or now
        decoded = sequence.decode_at or now
        spans = (
            ("queue", sequence.submitted_at, began, {"steps_waited": record.steps_waited}),
            ("prefill", began, decoded, {"reused": record.num_reused_tokens, "from": record.restored_from}),
            ("decode", decoded, now, {"tokens": record.num_generated_tokens, "ended": record.ended}),
        )
        for name, begin, end, args in spans:
            if end > begin:
                self._trace.span(track, name, begin, end, args)
