"""The engine thread: one decode call a step, for whoever's turn it is. Read `step()` first.

A generation waits, is given a branch of the cache, reads its path chunk by chunk, then takes part in decode calls. It
can lose its branch to a more urgent one at any step; then it waits again, and later reads what the cache lost.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine.backend import AbortedError, AbortFlag, Backend, DecodeError
from qcn_agent.engine.deadline import Admission, CallTimes, quantum_s
from qcn_agent.engine.decoding import Decoding, count_evaluated
from qcn_agent.engine.drawing import Drawing, Drawn
from qcn_agent.engine.generator import GenerationRequest, Priority
from qcn_agent.engine.policy import WINDOW_S, Turn, Turns
from qcn_agent.engine.roster import Roster, session_of
from qcn_agent.engine.sequence import Sequence, SequenceState, fairness
from qcn_agent.engine.session import SessionManager, Step
from qcn_agent.engine.stats import EngineStats
from qcn_agent.engine.upkeep import Upkeep
from qcn_agent.errors import ContextFullError, EngineError

logger = logging.getLogger(__name__)

_MAX_ABORTS = 2  # of one chunk; then it runs to its end
_DEFAULTS = SchedulerConfig()

Members = tuple[Sequence, ...]
OnEnter = Callable[[Iterable[GenerationRequest]], None]


class Scheduler:
    """`submit`, `drop_session` and `close` may be called from any thread; all else happens on the engine thread."""

    def __init__(
        self,
        backend: Backend,
        sessions: SessionManager,
        metadata: Mapping[str, str],
        config: SchedulerConfig = _DEFAULTS,
        clock: Callable[[], float] = time.perf_counter,
        on_enter: OnEnter | None = None,
    ) -> None:
        self.stats = EngineStats()
        self.times = CallTimes(backend.n_batch)
        self._backend = backend
        self._sessions = sessions
        self._config = config
        self._clock = clock
        self._on_enter = on_enter
        self._roster = Roster(backend, sessions, metadata, self.stats, clock)
        self._drawing = Drawing(backend, self._roster, self.stats)
        self._decoding = Decoding(
            backend, sessions, self._roster, self._drawing, self.stats, self.times, config, clock, self._has_news
        )
        self._turns = Turns(config.min_share)
        self._admission = Admission()
        self._inbox: deque[Sequence | str] = deque()  # generations, and names of sessions to be forgotten
        self._drops: set[str] = set()  # those that were in use then
        self._members: Members = ()  # of the step, or being started: to blame for an unforeseen error
        self._served: set[Turn] = set()  # classes of the latest step
        self._stepped_at = 0.0  # when it ended
        self._completion_at = float("-inf")  # when the latest completion arrived
        self._urgent = AbortFlag()
        self._is_abortable = False  # the call under way polls it
        self._upkeep = Upkeep(sessions, clock, self._has_news)
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="qcn-engine", daemon=True)

    @property
    def queue_length(self) -> int:
        """Requests, and sessions to be forgotten, that wait or run."""
        return len(self._inbox) + len(self._roster.live)

    def start(self) -> None:
        """Start the engine thread."""
        self._thread.start()

    def submit(self, sequence: Sequence) -> None:
        """Queue a generation. Raises EngineError when the engine is closed."""
        with self._wake:
            if self._closing:
                raise EngineError("the engine is closed")
            self._inbox.append(sequence)
            if _is_completion(sequence):
                self._urgent.set()  # after the append: see _extend
            self._wake.notify()

    def drop_session(self, name: str) -> None:
        """Forget a conversation as soon as none of its requests waits or runs. A later request keeps it."""
        with self._wake:
            self._inbox.append(name)
            self._wake.notify()

    def close(self) -> None:
        """Stop after the current step; what waits or runs ends with EngineError. Blocks until the thread is gone."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def step(self) -> bool:
        """Do one unit of work: a prefill chunk, or a token of each decoding member. False when there is none."""
        members = self._schedule()
        if not members:
            return False
        begin = self._clock()
        self.stats.num_steps += 1  # now: whoever hears of an end in it may look at once
        drawn = self._run(members)
        self._account(members, begin)
        self._drawing.finish(drawn)
        return True

    def _has_news(self) -> bool:
        """Whether the step is to end soon, so that the next one sees what came."""
        return self._closing or bool(self._inbox)

    def _loop(self) -> None:
        while self._wait_for_work():
            try:
                if not self.step():
                    self._upkeep.rest()
                elif Turn.COMPLETION not in self._served:
                    self._upkeep.after(self.stats.num_steps)
            except Exception as error:  # the border of the thread: one bad request must not end it
                logger.exception("the engine failed in an unexpected way")
                self._blame(EngineError(f"internal error: {error!r}", hint="please report this"))
        for sequence in (*self._roster.live, *(new for new in self._inbox if isinstance(new, Sequence))):
            sequence.abandon(EngineError("the engine was closed"))

    def _wait_for_work(self) -> bool:
        if self._roster.running and not self._closing:
            self._upkeep.is_due = True  # when it is done
            return True
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self.queue_length or self._upkeep.is_due)
            return not self._closing

    def _schedule(self) -> Members:
        """Who takes part in the next call."""
        self._enter(())
        if self._inbox:
            self._take_in()
        self._put_away()
        self._drop_unused()
        if self._roster.waiting:
            self._admit()
        self._enter(self._choose())
        return self._members

    def _enter(self, members: Members) -> None:
        """From here on `members` are to blame for what goes wrong."""
        self._members = members
        if self._on_enter is not None:
            self._on_enter(sequence.request for sequence in members)

    def _take_in(self) -> None:
        """What came since the last step, in its order."""
        while self._inbox:
            new = self._inbox.popleft()
            if isinstance(new, str):
                self._drops.add(new)
                self._drop_unused()
            else:
                self._take_in_generation(new)

    def _take_in_generation(self, new: Sequence) -> None:
        """A completion ends older ones of its session. A session that is asked for again is not forgotten."""
        if _is_completion(new):
            self._completion_at = self._clock()
            for old in self._roster.live:
                if _is_completion(old) and old.request.session == new.request.session:
                    old.is_superseded = True
                    old.cancel()
                    self.stats.num_superseded += 1
        self._drops.discard(new.request.session)
        new.turn = self._turn_of(new, self._quantum())
        new.steps_waited += new.submitted_at < self._stepped_at and new.turn not in self._served
        self._roster.waiting.append(new)

    def _put_away(self) -> None:
        """End what nobody waits for any more, and what comes too late."""
        for sequence in self._roster.live:  # a copy
            if sequence.cancelled:
                self._roster.retire(sequence, None)
            elif sequence.state is not SequenceState.DECODE and sequence.is_late(self._clock()):
                self._roster.finish(sequence, "deadline")

    def _drop_unused(self) -> None:
        if not self._drops:
            return
        unused = self._drops - {sequence.request.session for sequence in self._roster.live}
        for name in unused:
            self._drops.discard(name)  # before: what fails once is not tried at each step
            self._sessions.drop(name)

    def _admit(self) -> None:
        """Give branches to those who wait; background work gets one when it is its turn."""
        for sequence in self._roster.startable:
            if sequence.request.priority is not Priority.BACKGROUND:
                self._start(sequence)

    def _start(self, sequence: Sequence) -> bool:
        """Whether the generation has a branch now, and time enough."""
        self._enter((sequence,))
        if not self._roster.start(sequence):
            return False
        expected = self.times.prefill_s(sequence.num_missing_tokens)
        if sequence.tokens or self._admission.admits(expected, sequence.expires_at - self._clock()):
            return True
        self._roster.finish(sequence, "deadline")
        return False

    def _choose(self) -> Members:
        running = self._roster.running
        startable = self._roster.startable if self._roster.waiting else []  # only background work is left by now
        if not startable and len(running) <= 1:
            return tuple(running)
        groups: dict[Turn, list[Sequence]] = {}
        quantum = self._quantum()
        for sequence in self._roster.live:
            sequence.turn = self._turn_of(sequence, quantum)
            if not sequence.is_blocked:
                groups.setdefault(sequence.turn, []).append(sequence)
        may_wait = not any(s.steps_waited and s.turn is Turn.COMPLETION for s in self._roster.live)
        chosen = self._turns.choose(groups, completions_may_wait=may_wait)
        first = min(groups[chosen], key=fairness)
        if first.state is SequenceState.WAITING:
            return (first,) if self._start(first) else self._choose()
        if first.state is SequenceState.PREFILL:
            return (first,)
        together = sorted(turn for turn in groups if turn is chosen or self._turns.takes_along(chosen, turn))
        decoding = [s for turn in together for s in groups[turn] if s.state is SequenceState.DECODE]
        return tuple(decoding[: self._backend.n_batch])

    def _turn_of(self, sequence: Sequence, quantum: int) -> Turn:
        """The class of a generation. A completion older than the share of a window it may fill is none any more."""
        priority = sequence.request.priority
        if priority is Priority.BACKGROUND:
            return Turn.BACKGROUND
        oldest = self._clock() - (1 - self._config.min_share) * WINDOW_S
        if priority is Priority.COMPLETION and sequence.submitted_at > oldest:
            return Turn.COMPLETION
        if sequence.state is SequenceState.DECODE:
            return Turn.DECODE
        return Turn.FIRST_TOKEN if sequence.num_missing_tokens <= quantum else Turn.LONG_PREFILL

    def _quantum(self) -> int:
        """Tokens of one call of a long prefill, as things are now."""
        return self.times.chunk(self._quantum_s())

    def _quantum_s(self) -> float:
        idle_s, owed_s = self._clock() - self._completion_at, self._turns.owed_s
        return quantum_s(self._config, idle_s=idle_s, owed_s=owed_s, is_shared=len(self._roster.live) > 1)

    def _run(self, members: Members) -> Drawn:
        """One call of the model. The tokens that were drawn after it."""
        try:
            if members[0].state is SequenceState.PREFILL:
                return self._prefill(members[0]) if members[0].kept_logits is None else self._skip_prefill(members[0])
            return self._decode(members)
        except ContextFullError as error:
            self._roster.make_room(error)
        except DecodeError as error:
            self._repair(members, error)
        return []

    def _repair(self, members: Members, error: DecodeError) -> None:
        """After a call that was cut short or failed: back to good states. Those that failed for good end."""
        if isinstance(error, AbortedError) and self._is_abortable:
            members[0].num_aborts += 1
            self.stats.num_aborted_steps += 1
            self._sessions.recover(session_of(members[0]))
            return
        for sequence in members:  # of several any may be to blame: each gets a second chance
            is_to_blame = len(members) == 1 or sequence.num_failures > 0
            self._roster.repair(sequence, error if is_to_blame else None)

    def _prefill(self, sequence: Sequence) -> Drawn:
        """Read the next chunk, which ends where a snapshot is due. After the last one a token is drawn."""
        path, begin = sequence.path, sequence.num_cached_tokens
        limit = self._backend.n_batch if sequence.turn is Turn.COMPLETION else self._quantum()
        end = min([begin + limit, len(path), *[cut for cut in sequence.cuts if cut > begin][:1]])
        started = self._clock()
        self._extend(sequence, Step(session_of(sequence), path[begin:end], end == len(path)))
        if end - begin > 1:  # the call for the last token alone runs at the speed of decoding
            seconds = self._clock() - started
            self.stats.prefill.add(end - begin, seconds)
            self.times.add_prefill(end - begin, seconds)
        sequence.num_aborts = 0
        count_evaluated(sequence, self.stats, end - begin)
        self._roster.snapshot_if_due(sequence)
        sequence.send_progress(min(end, len(sequence.request.prompt)))
        return self._begin_decode(sequence) if end == len(path) else []

    def _skip_prefill(self, sequence: Sequence) -> Drawn:
        """The whole path is in the cache, and so are the logits at its end."""
        sequence.send_progress(len(sequence.request.prompt))
        return self._begin_decode(sequence)

    def _begin_decode(self, sequence: Sequence) -> Drawn:
        sequence.state = SequenceState.DECODE
        sequence.decode_at = sequence.decode_at or self._clock()
        drawn = self._drawing.draw_or_retire(sequence, -1)
        sequence.kept_logits = None
        return drawn

    def _extend(self, sequence: Sequence, step: Step) -> None:
        """Make the call so that a completion can cut it short, where that pays.

        A completion is put into the inbox before the flag is set, and here the flag is cleared before the inbox is
        looked at: none is missed.
        """
        self._is_abortable = self._pays_to_abort(sequence, len(step.tokens))
        if self._is_abortable:
            self._is_abortable = self._sessions.snapshot(step.session, is_anchor=False)  # for `recover`
            self._urgent.clear()
            if any(_is_completion(new) for new in list(self._inbox)):
                self._urgent.set()
        self._backend.abort_when(self._urgent if self._is_abortable else None)
        self._sessions.extend((step,))

    def _pays_to_abort(self, sequence: Sequence, num_tokens: int) -> bool:
        """Not for a completion, nor for what completions owe, nor for a chunk that was aborted often enough."""
        if not self._backend.can_abort or sequence.turn is Turn.COMPLETION or sequence.num_aborts >= _MAX_ABORTS:
            return False
        expected_ms = 1e3 * (self.times.call_s(num_tokens) or 0.0)
        return 0 < self._config.abort_ms <= expected_ms and self._turns.owed_s <= 0

    def _decode(self, members: Members) -> Drawn:
        self._is_abortable = False
        self._backend.abort_when(None)
        return self._decoding.run(members, self._roster.live, self._quantum_s)

    def _account(self, members: Members, begin: float) -> None:
        """Who was served, who waited, who owes whom."""
        self._stepped_at = self._clock()
        seconds = self._stepped_at - begin
        for sequence in members:
            sequence.served_at = self.stats.num_steps
        self._served = {sequence.turn for sequence in members}
        if self._roster.is_single and self._turns.is_settled:
            return
        others = [sequence for sequence in self._roster.live if sequence not in members]
        for sequence in others:
            sequence.steps_waited += sequence.turn not in self._served
        self._turns.ran(self._served, {sequence.turn for sequence in others}, seconds)

    def _blame(self, error: EngineError) -> None:
        """After an unforeseen error end those that had part in the step, their sessions forgotten."""
        for sequence in self._members or self._roster.live:
            try:
                self._roster.retire(sequence, error)
                self._sessions.drop(sequence.request.session)
            except Exception:  # the books may be what is wrong
                logger.exception("the engine could not clean up after a failed request")


def _is_completion(item: Sequence | str) -> bool:
    return isinstance(item, Sequence) and item.request.priority is Priority.COMPLETION
