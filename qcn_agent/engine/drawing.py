"""The next token of a generation: drawn, sent, counted."""

from qcn_agent.engine.backend import Backend
from qcn_agent.engine.generator import EndReason, TokenLogprob
from qcn_agent.engine.roster import Roster
from qcn_agent.engine.sequence import Sequence
from qcn_agent.engine.stats import EngineStats
from qcn_agent.errors import QcnError

Drawn = list[tuple[Sequence, int, TokenLogprob | None]]


class Drawing:
    """Engine thread only."""

    def __init__(self, backend: Backend, roster: Roster, stats: EngineStats) -> None:
        self._backend = backend
        self._roster = roster
        self._stats = stats

    def draw(self, sequence: Sequence, row: int) -> tuple[int, TokenLogprob | None]:
        """From the logits of a row of the latest call, or from those it keeps. Raises QcnError."""
        assert sequence.sampler is not None  # noqa: S101 - made when it was started
        token = sequence.sampler.sample(sequence.next_position, row, sequence.kept_logits)
        return token, sequence.sampler.logprob(token, row)

    def draw_or_retire(self, sequence: Sequence, row: int) -> Drawn:
        """The same; none when its own sampler fails, which ends the generation."""
        try:
            return [(sequence, *self.draw(sequence, row))]
        except QcnError as error:
            self._roster.retire(sequence, error)
            return []

    def send(self, sequence: Sequence, token: int, logprob: TokenLogprob | None) -> EndReason | None:
        """Give it to the consumer. Why the generation ends with it, if it does."""
        self._stats.num_generated_tokens += 1
        stopped = sequence.append(token, self._backend.piece(token, special=False), logprob)
        if stopped or self._backend.is_end(token):
            return "stop"
        return "length" if len(sequence.tokens) >= sequence.request.max_new_tokens else None

    def finish(self, drawn: Drawn) -> None:
        """Send what was drawn, and end the generations that end there."""
        for sequence, token, logprob in drawn:
            reason = self.send(sequence, token, logprob)
            if reason is not None:
                self._roster.finish(sequence, reason)
