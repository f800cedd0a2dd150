"""The engine thread: one request at a time, first come first served, one decode call a step."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from qcn_agent.engine.backend import Backend, DecodeError
from qcn_agent.engine.residency import Branch
from qcn_agent.engine.sampling import resolve
from qcn_agent.engine.sequence import Sequence, SequenceState
from qcn_agent.engine.session import SessionManager
from qcn_agent.engine.stats import EngineStats
from qcn_agent.errors import EngineError, QcnError

logger = logging.getLogger(__name__)

Command = Callable[[], None]


class Scheduler:
    """`submit`, `post` and `close` may be called from any thread; all else happens on the engine thread."""

    def __init__(self, backend: Backend, sessions: SessionManager, metadata: Mapping[str, str]) -> None:
        self.stats = EngineStats()
        self._backend = backend
        self._sessions = sessions
        self._metadata = metadata
        self._queue: deque[Sequence] = deque()
        self._commands: deque[Command] = deque()
        self._running: Sequence | None = None
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="qcn-engine", daemon=True)

    @property
    def queue_length(self) -> int:
        """Requests that wait or run."""
        return len(self._queue) + (self._running is not None)

    def start(self) -> None:
        """Start the engine thread."""
        self._thread.start()

    def submit(self, sequence: Sequence) -> None:
        """Queue a generation. Raises EngineError when the engine is closed."""
        with self._wake:
            if self._closing:
                raise EngineError("the engine is closed")
            self._queue.append(sequence)
            self._wake.notify()

    def post(self, command: Command) -> None:
        """Run `command` on the engine thread when no request is running."""
        with self._wake:
            self._commands.append(command)
            self._wake.notify()

    def close(self) -> None:
        """Stop after the current step; what waits or runs ends with EngineError. Blocks until the thread is gone."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def step(self) -> bool:
        """Do one unit of work: a prefill chunk or one token. False when there is nothing to do."""
        sequence = self._schedule()
        if sequence is None:
            return False
        try:
            drawn = self._run(sequence)
            self._postprocess(sequence, drawn)
        except QcnError as error:
            self._fail(sequence, error)
        return True

    def _loop(self) -> None:
        while self._wait_for_work():
            try:
                self.step()
            except Exception as error:  # the border of the thread: one bad request must not end it
                logger.exception("the engine failed in an unexpected way")
                if self._running is not None:
                    self._fail(self._running, EngineError(f"internal error: {error!r}", hint="please report this"))
        self._end_all()

    def _wait_for_work(self) -> bool:
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self._running or self._queue or self._commands)
            return not self._closing

    def _schedule(self) -> Sequence | None:
        """The generation to work on, started if it is new. Those whose owner has gone are put away."""
        while True:
            if self._running is None:
                self._run_commands()
                self._running = self._queue.popleft() if self._queue else None
            if self._running is None or not self._running.cancelled:
                return self._running
            self._retire(None)

    def _run(self, sequence: Sequence) -> int | None:
        """One call of the model. A drawn token, or None while the prompt is not all read."""
        if sequence.state is SequenceState.WAITING:
            self._start(sequence)
        session = _session_of(sequence)
        if sequence.state is SequenceState.PREFILL:
            self._prefill(sequence, session)
            return None
        return self._decode(sequence, session)

    def _start(self, sequence: Sequence) -> None:
        request = sequence.request
        sequence.prefill_at = time.perf_counter()
        sequence.sampler = self._backend.sampler(resolve(request.sampling, self._metadata), request.grammar)
        prepared = self._sessions.prepare(request)
        sequence.session, sequence.cuts = prepared.session, prepared.cuts
        sequence.num_reused_tokens = prepared.num_reused_tokens
        sequence.state = SequenceState.PREFILL
        self._snapshot_if_due(sequence, prepared.session)
        self.stats.num_requests += 1
        self.stats.num_reused_tokens += prepared.num_reused_tokens

    def _prefill(self, sequence: Sequence, session: Branch) -> None:
        """Read the next chunk, which ends where a snapshot is due."""
        prompt, begin = sequence.request.prompt, len(session.ledger)
        stops = [cut for cut in sequence.cuts if cut > begin]
        end = min([begin + self._backend.n_batch, len(prompt), *stops[:1]])
        started = time.perf_counter()
        self._sessions.extend(session, prompt[begin:end], want_logits=end == len(prompt))
        if end - begin > 1:  # the call for the last token alone runs at the speed of decoding
            self.stats.prefill.add(end - begin, time.perf_counter() - started)
        self._count_evaluated(sequence, end - begin)
        self._snapshot_if_due(sequence, session)
        sequence.send_progress(end)
        if end == len(prompt):
            sequence.state = SequenceState.DECODE
            sequence.decode_at = time.perf_counter()

    def _decode(self, sequence: Sequence, session: Branch) -> int:
        """Feed the latest token back, if any, and draw the next."""
        started = time.perf_counter()
        if sequence.tokens:
            self._sessions.extend(session, np.array(sequence.tokens[-1:], np.int32), want_logits=True)
            self._count_evaluated(sequence, 1)
        assert sequence.sampler is not None  # noqa: S101 - made in _start
        token = sequence.sampler.sample(len(session.ledger))
        self.stats.decode.add(1, time.perf_counter() - started)
        return token

    def _postprocess(self, sequence: Sequence, token: int | None) -> None:
        """Send what was drawn, and end the generation where it ends."""
        if token is None:
            return
        self.stats.num_generated_tokens += 1
        stopped = sequence.append(token, self._backend.piece(token, special=False)) or self._backend.is_end(token)
        if stopped or len(sequence.tokens) >= sequence.request.max_new_tokens:
            self._release(sequence)
            self._running = None  # before the consumer hears of it
            sequence.finish("stop" if stopped else "length")

    def _fail(self, sequence: Sequence, error: QcnError) -> None:
        """End a generation with an error, its session put back to a good state."""
        self._running = sequence
        if sequence.session is None:
            self._sessions.drop(sequence.request.session)
        elif isinstance(error, DecodeError):
            self._sessions.recover(sequence.session)
        self._retire(error)

    def _retire(self, error: QcnError | None) -> None:
        """End the running generation without an answer."""
        sequence, self._running = self._running, None
        if sequence is not None:
            self._release(sequence)
            sequence.abandon(error)

    def _release(self, sequence: Sequence) -> None:
        if sequence.session is not None:
            self._sessions.release(sequence.session)

    def _snapshot_if_due(self, sequence: Sequence, session: Branch) -> None:
        position = len(session.ledger)
        if position in sequence.cuts:
            first = min((b for b in sequence.request.boundaries if b > 0), default=0)
            self._sessions.snapshot(session, is_anchor=position == first)

    def _count_evaluated(self, sequence: Sequence, num_tokens: int) -> None:
        sequence.num_evaluated_tokens += num_tokens
        self.stats.num_evaluated_tokens += num_tokens

    def _run_commands(self) -> None:
        while self._commands:
            self._commands.popleft()()

    def _end_all(self) -> None:
        closed = EngineError("the engine was closed")
        for sequence in [*filter(None, [self._running]), *self._queue]:
            sequence.abandon(closed)
        self._running = None
        self._queue.clear()


def _session_of(sequence: Sequence) -> Branch:
    if sequence.session is None:
        raise EngineError("a generation has no session")
    return sequence.session
