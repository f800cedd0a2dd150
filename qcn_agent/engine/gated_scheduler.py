"""A scheduler whose calls of the model wait at a `Turnstile`, because another context computes on the same device."""

import time
from collections.abc import Callable, Mapping

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine.backend import Backend
from qcn_agent.engine.deadline import quantum_s
from qcn_agent.engine.drawing import Drawn
from qcn_agent.engine.generator import Priority
from qcn_agent.engine.policy import WINDOW_S, Turn
from qcn_agent.engine.scheduler import Members, OnEnter, Scheduler
from qcn_agent.engine.sequence import Sequence, SequenceState
from qcn_agent.engine.session import SessionManager
from qcn_agent.engine.turnstile import GateFlag, Side
from qcn_agent.errors import EngineError


class GatedScheduler(Scheduler):
    """See `Scheduler`. Waiting at the gate is no part of the call times that are learned."""

    def __init__(
        self,
        backend: Backend,
        sessions: SessionManager,
        metadata: Mapping[str, str],
        config: SchedulerConfig,
        side: Side,
        clock: Callable[[], float] = time.perf_counter,
        on_enter: OnEnter | None = None,
    ) -> None:
        super().__init__(backend, sessions, metadata, config, clock, on_enter)
        self._side = side
        self._gate = side.gate
        self._gate_s = 0.0  # waited there in the latest step
        self._urgent = GateFlag(side)

    def submit(self, sequence: Sequence) -> None:
        """See `Scheduler.submit`. The gate knows of it before this engine can be found idle again."""
        with self._wake:
            super().submit(sequence)
            self._side.gate.arrive(self._side, is_completion=sequence.request.priority is Priority.COMPLETION)

    def step(self) -> bool:
        """See `Scheduler.step`."""
        try:
            return super().step()
        finally:
            if not self.queue_length:
                self._rest()

    def close(self) -> None:
        """See `Scheduler.close`."""
        super().close()
        self._gate.rest(self._side)

    def _rest(self) -> None:
        with self._wake:
            if not self.queue_length:
                self._gate.rest(self._side)

    def _run(self, members: Members) -> Drawn:
        begin = self._clock()
        turn = min(map(self._turn_at_gate, members))
        self._tell(())  # nobody is to blame for what happens on the other side of the gate
        is_passed_over = self._gate.enter(self._side, turn)
        try:
            if is_passed_over:
                self._count_wait()
            self._gate_s = self._clock() - begin
            self._tell(members)
            return super()._run(members)
        finally:
            self._tell(())
            self._gate.leave(self._side)

    def _blame(self, error: EngineError) -> None:
        super()._blame(error)
        self._rest()  # the step before still counted those that have ended now

    def _has_news(self) -> bool:
        return self._gate.is_shared or super()._has_news()

    def _tell(self, members: Members) -> None:
        if self._on_enter is not None:
            self._on_enter(sequence.request for sequence in members)

    def _account(self, members: Members, begin: float) -> None:
        super()._account(members, begin + self._gate_s)

    def _take_in_generation(self, new: Sequence) -> None:
        super()._take_in_generation(new)
        is_alone = not any(other is not new and not other.cancelled for other in self._roster.live)
        if is_alone and new.request.priority is Priority.COMPLETION:
            self._gate.settle_first()

    def _quantum_s(self) -> float:
        idle_s, owed_s = self._clock() - self._gate.completion_at, self._gate.owed_s
        return quantum_s(self._config, idle_s=idle_s, owed_s=owed_s, is_shared=len(self._roster.live) > 1)

    def _pays_to_abort(self, sequence: Sequence, num_tokens: int) -> bool:
        return self._gate.owed_s <= 0 and super()._pays_to_abort(sequence, num_tokens)

    def _turn_at_gate(self, sequence: Sequence) -> Turn:
        """The class of a call for `sequence`; like `_turn_of`, which is too slow for each step."""
        priority = sequence.request.priority
        if priority is Priority.BACKGROUND:
            return Turn.BACKGROUND
        oldest = self._clock() - (1 - self._config.min_share) * WINDOW_S
        if priority is Priority.COMPLETION and sequence.submitted_at > oldest:
            return Turn.COMPLETION
        return Turn.DECODE if sequence.state is SequenceState.DECODE else max(sequence.turn, Turn.FIRST_TOKEN)

    def _count_wait(self) -> None:
        """For all that were there when the others' latest call ended: calls in a row count as one."""
        left_at = self._side.others_left_at
        came = [new for new in list(self._inbox) if isinstance(new, Sequence)]
        for sequence in (*self._roster.live, *came):
            sequence.steps_waited += sequence.submitted_at < left_at
