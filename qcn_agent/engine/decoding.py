"""Decode calls: the latest token of each member goes in, the next one is drawn. Together, alone, or with a draft."""

from collections.abc import Callable
from collections.abc import Sequence as Several

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine.backend import Backend, DecodeError
from qcn_agent.engine.deadline import CallTimes
from qcn_agent.engine.drawing import Drawing, Drawn
from qcn_agent.engine.generator import EndReason, Priority
from qcn_agent.engine.roster import Roster, session_of
from qcn_agent.engine.sequence import Sequence, SequenceState
from qcn_agent.engine.session import SessionManager, Step
from qcn_agent.engine.speculation import Speculator
from qcn_agent.engine.stats import EngineStats
from qcn_agent.errors import ContextFullError, QcnError

_MAX_CALLS = 32  # of one step; then the scheduler looks after its books


class Decoding:
    """Engine thread only. `has_news` is asked whether somebody else wants something."""

    def __init__(
        self,
        backend: Backend,
        sessions: SessionManager,
        roster: Roster,
        drawing: Drawing,
        stats: EngineStats,
        times: CallTimes,
        config: SchedulerConfig,
        clock: Callable[[], float],
        has_news: Callable[[], bool],
    ) -> None:
        self._sessions = sessions
        self._roster = roster
        self._drawing = drawing
        self._stats = stats
        self._times = times
        self._clock = clock
        self._has_news = has_news
        self._may_speculate = config.speculate != "off" and not backend.full_copies
        self._speculator = Speculator(backend, sessions, drawing, stats, times, clock)

    def run(self, members: Several[Sequence], live: Several[Sequence], quantum_s: Callable[[], float]) -> Drawn:
        """One step. The tokens that are still to be sent. Raises as `SessionManager.extend` does.

        `quantum_s()` is how long a call may last that verifies a draft.
        """
        if len(members) > 1:
            return self._together(members)
        alone = members[0]
        if self._may_speculate and not self._disturbs(alone, live) and self._speculate(alone, quantum_s()):
            return []
        if len(live) == 1 and not self._may_speculate and self._times.is_steady:
            self._alone(alone)
            return []
        return self._together(members)

    def _together(self, members: Several[Sequence]) -> Drawn:
        started = self._clock()
        steps = [Step(session_of(sequence), sequence.unread, 1) for sequence in members]
        self._sessions.extend(steps)
        drawn: Drawn = []
        row = -1
        for sequence, step in zip(members, steps, strict=True):
            num_tokens = len(step.tokens)
            row += num_tokens
            count_evaluated(sequence, self._stats, 1, num_tokens - 1)
            drawn += self._drawing.draw_or_retire(sequence, row)
        seconds = self._clock() - started
        self._stats.decode.add(len(members), seconds)
        if row == len(members) - 1:
            self._times.add_decode(seconds)
        elif len(members) == 1:
            self._times.add_prefill(row + 1, seconds)
        return drawn

    def _alone(self, sequence: Sequence) -> None:
        """Call after call until somebody else wants something, without what is done between two calls for others.

        A call streams the model's weights through the processor's caches, and whatever Python touches after it comes
        from memory: what a token costs beside its call is less a matter of work than of how much code there is.
        """
        started, num_before = self._clock(), len(sequence.tokens)
        reason: EndReason | None = None
        error: QcnError | None = None
        try:
            reason = self._draw_on(sequence)
        except (ContextFullError, DecodeError):
            raise
        except QcnError as failure:
            error = failure
        finally:
            self._count_calls(sequence, len(sequence.tokens) - num_before, self._clock() - started)
        if error is not None:
            self._roster.retire(sequence, error)
        elif reason is not None:
            self._roster.finish(sequence, reason)

    def _draw_on(self, sequence: Sequence) -> EndReason | None:
        extend, draw, send, has_news = self._sessions.extend, self._drawing.draw, self._drawing.send, self._has_news
        session = session_of(sequence)
        for _ in range(_MAX_CALLS):
            extend((Step(session, sequence.unread, 1),))
            reason = send(sequence, *draw(sequence, -1))
            if reason is not None or sequence.cancelled or has_news():
                return reason
        return None

    def _count_calls(self, sequence: Sequence, num_calls: int, seconds: float) -> None:
        if num_calls:
            count_evaluated(sequence, self._stats, num_calls)
            self._stats.num_steps += num_calls - 1
            self._stats.decode.add(num_calls, seconds)
            self._times.add_decode(seconds / num_calls)

    def _disturbs(self, sequence: Sequence, live: Several[Sequence]) -> bool:
        """Whether a longer call would keep others waiting: another answer, or a completion."""
        others = [other for other in live if other is not sequence]
        is_completion = [other.request.priority is Priority.COMPLETION for other in others]
        return self._has_news() or any(is_completion) or any(o.state is SequenceState.DECODE for o in others)

    def _speculate(self, sequence: Sequence, limit_s: float) -> bool:
        """Whether a draft was verified: in a call like any other, which nobody waits longer for than for a quantum."""
        done = self._speculator.decode(sequence, limit_s)
        if done is None:
            return False
        if done.is_end and not self._has_news():
            self._speculator.read_again(sequence)
        if done.error is not None:
            self._roster.retire(sequence, done.error)
        elif done.reason is not None:
            self._roster.finish(sequence, done.reason)
        return True


def count_evaluated(sequence: Sequence, stats: EngineStats, num_tokens: int, num_repeated: int = 0) -> None:
    """Count tokens that went through the model for a generation."""
    for counts in (sequence, stats):
        counts.num_evaluated_tokens += num_tokens
        counts.num_repeated_tokens += num_repeated
