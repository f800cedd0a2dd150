"""Speculative decoding by prompt lookup: several tokens a call where an answer copies earlier text.

The call reads the latest token and a draft of what follows it, and gives logits after each. Tokens are drawn from them
one by one, as always; the first that differs from the draft ends the round, and what was drafted after it is taken
back. A recurrent state goes back to before the call, and what was right is read again with the next call's tokens.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qcn_agent.engine.acceptance import Acceptance, Gauge
from qcn_agent.engine.backend import Backend, DecodeError
from qcn_agent.engine.deadline import CallTimes
from qcn_agent.engine.drafts import Draft, PromptLookup
from qcn_agent.engine.drawing import Drawing
from qcn_agent.engine.generator import EndReason, IntArray
from qcn_agent.engine.roster import session_of
from qcn_agent.engine.sequence import Sequence
from qcn_agent.engine.session import SessionManager, Step
from qcn_agent.engine.stats import EngineStats
from qcn_agent.errors import ContextFullError, QcnError

logger = logging.getLogger(__name__)

MAX_DRAFT = 15  # tokens; with the latest one a call of 16


@dataclass(frozen=True)
class Round:
    """Why the generation ends with a verifying call, if it does."""

    reason: EndReason | None
    error: QcnError | None

    @property
    def is_end(self) -> bool:
        """Whether it does."""
        return self.reason is not None or self.error is not None


@dataclass
class _Text:
    """Of the one generation that drafts are made for."""

    sequence: Sequence
    lookup: PromptLookup


class Speculator:
    """Engine thread only."""

    def __init__(
        self,
        backend: Backend,
        sessions: SessionManager,
        drawing: Drawing,
        stats: EngineStats,
        times: CallTimes,
        clock: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._sessions = sessions
        self._drawing = drawing
        self._stats = stats
        self._times = times
        self._clock = clock
        self._acceptance = Acceptance()
        self._gauge = Gauge(self._acceptance, times, rolls_back=backend.needs_snapshots)
        self._text: _Text | None = None

    def decode(self, sequence: Sequence, limit_s: float) -> Round | None:
        """One call that verifies a draft, where that pays and takes at most `limit_s`. None: nothing was done.

        Its tokens are sent; to end the generation is the caller's part. Raises DecodeError when its branch must be
        recovered.
        """
        draft = self._draft(sequence, limit_s)
        if draft is None:
            return None
        session, unread, num_before = session_of(sequence), sequence.unread, len(sequence.tokens)
        read = np.concatenate([unread, draft.tokens])
        started = self._clock()
        try:
            if not self._sessions.try_extend(Step(session, read, len(draft.tokens) + 1)):
                return None
        except DecodeError as error:
            logger.warning("no more drafts for this answer, as a call that verified one failed: %s", error)
            sequence.num_failures += 1
            return None
        reason, failure = None, None
        try:
            reason = self._draw_along(sequence, read, len(unread) - 1)
        except QcnError as own:  # of its sampler
            failure = own
        finally:
            self._keep(sequence, read)
        seconds = self._clock() - started
        self._times.add_prefill(len(read), seconds)
        self._stats.decode.add(len(sequence.tokens) - num_before, seconds)
        self._count(sequence, draft, len(unread), num_before)
        return Round(reason, failure)

    def read_again(self, sequence: Sequence) -> None:
        """At the end of a generation: what only the latest round took back, so that its state is that of its end."""
        lost = sequence.unread[:-1]
        if not len(lost):
            return
        try:
            self._sessions.extend([Step(session_of(sequence), lost)])
        except ContextFullError:
            return
        except DecodeError:
            self._sessions.recover(session_of(sequence))
            return
        sequence.num_repeated_tokens += len(lost)
        self._stats.num_repeated_tokens += len(lost)

    def _draft(self, sequence: Sequence, limit_s: float) -> Draft | None:
        """What is worth verifying."""
        num_unread = len(sequence.unread)
        num_left = sequence.request.max_new_tokens - len(sequence.tokens)
        room = min(MAX_DRAFT, self._backend.n_outputs - 1, self._backend.n_batch - num_unread, num_left - 1)
        if room < 1 or sequence.num_failures or self._gauge.is_resting():
            return None
        text = self._text_of(sequence)
        num_known = len(text.lookup) - len(sequence.request.prompt)
        text.lookup.extend(np.array(sequence.tokens[num_known:], np.int32))
        draft = text.lookup.propose(room)
        if draft is None:
            return None
        size = self._gauge.num_worthwhile(num_unread, room, draft.num_matched, limit_s)
        return Draft(draft.tokens[:size], draft.num_matched) if size else None

    def _text_of(self, sequence: Sequence) -> _Text:
        """Its prompt, indexed."""
        text = self._text
        if text is None or text.sequence is not sequence:
            text = self._text = _Text(sequence, PromptLookup(sequence.request.prompt))
        return text

    def _draw_along(self, sequence: Sequence, read: IntArray, row: int) -> EndReason | None:
        """Draw and send tokens from `row` on, as long as they are those that were read."""
        while True:
            token, logprob = self._drawing.draw(sequence, row)
            reason = self._drawing.send(sequence, token, logprob)
            row += 1
            if reason is not None or row == len(read) or token != read[row]:
                return reason

    def _keep(self, sequence: Sequence, read: IntArray) -> None:
        """Of what was read, what was sent before the latest token: as if there had been no draft."""
        session = session_of(sequence)
        begin, end = len(session.ledger) - len(read), sequence.next_position - 1
        self._sessions.keep(session, end)
        sequence.take_back(read[len(session.ledger) - begin : end - begin])

    def _count(self, sequence: Sequence, draft: Draft, num_unread: int, num_before: int) -> None:
        num_drafted, sent = len(draft.tokens), sequence.tokens[num_before:]
        is_right = [drafted == token for drafted, token in zip(draft.tokens.tolist(), sent, strict=False)]
        num_accepted = [*is_right, False].index(False)
        self._acceptance.record(draft.num_matched, num_drafted, num_accepted)
        for counts in (sequence, self._stats):
            counts.num_drafted_tokens += num_drafted
            counts.num_accepted_tokens += num_accepted
            counts.num_repeated_tokens += num_unread - 1
            counts.num_evaluated_tokens += 1 + num_accepted
