"""A generation collects tokens, sends text when it is certain, and counts."""

import numpy as np
import pytest

from qcn_agent.engine.generator import (
    Event,
    Finished,
    FloatArray,
    GenerationRequest,
    PrefillProgress,
    TextDelta,
    TokenLogprob,
)
from qcn_agent.engine.sequence import Sequence, SequenceState
from qcn_agent.engine.stream import EventStream
from qcn_agent.errors import EngineError


class Recorder(EventStream):
    """Keeps events, and which of them were urgent. Its consumer is always ready for more."""

    is_due = True

    def __init__(self) -> None:
        self.received: list[tuple[Event, bool]] = []
        self.closed_with: list[Exception | None] = []

    def push(self, event: Event, *, urgent: bool = False) -> None:
        """Keep."""
        self.received.append((event, urgent))

    def close(self, error: Exception | None = None) -> None:
        """Keep."""
        self.closed_with.append(error)


class ClosableSampler:
    """A sampler that only knows whether it was freed."""

    is_closed = False

    def sample(self, position: int, row: int = -1, kept: FloatArray | None = None) -> int:
        """Not used."""
        raise NotImplementedError

    def logprob(self, token: int, row: int = -1) -> TokenLogprob | None:
        """Not used."""
        raise NotImplementedError

    def close(self) -> None:
        """Remember."""
        self.is_closed = True


def _sequence(*stop: str) -> tuple[Sequence, Recorder, ClosableSampler]:
    recorder, sampler = Recorder(), ClosableSampler()
    sequence = Sequence(GenerationRequest("s", np.arange(7, dtype=np.int32), 10, stop=stop), recorder)
    sequence.sampler = sampler
    return sequence, recorder, sampler


def test_a_split_character_is_sent_with_both_its_tokens() -> None:
    """The delta of the second half carries the tokens of both."""
    sequence, recorder, _ = _sequence()
    assert not sequence.append(1, b"\xe2\x9c")
    assert not recorder.received
    sequence.append(2, b"\x93")
    assert recorder.received == [(TextDelta("✓", (1, 2)), True)]


def test_only_the_first_text_is_urgent() -> None:
    """Later text may wait for the next wake-up."""
    sequence, recorder, _ = _sequence()
    for token in range(3):
        sequence.append(token, b"x")
    assert [urgent for _, urgent in recorder.received] == [True, False, False]


def test_logprobs_travel_with_their_tokens() -> None:
    """Held back with the text, sent once."""
    sequence, recorder, _ = _sequence()
    first, second = TokenLogprob(1, -0.5), TokenLogprob(2, -0.25, ((2, -0.25),))
    sequence.append(1, b"\xe2\x9c", first)
    sequence.append(2, b"\x93", second)
    sequence.append(3, b"x", first)
    assert [event.logprobs for event, _ in recorder.received if isinstance(event, TextDelta)] == [
        (first, second),
        (first,),
    ]


def test_a_suspended_generation_takes_its_tokens_along() -> None:
    """What was drawn belongs to the path that is to be read; nothing is lost or drawn twice."""
    sequence, _, _ = _sequence()
    for token in (8, 9):
        sequence.append(token, b"x")
    sequence.suspend()
    assert sequence.path.tolist() == [*range(7), 8, 9]
    assert (sequence.state, sequence.session, sequence.is_blocked) == (SequenceState.WAITING, None, True)
    assert sequence.num_missing_tokens == 9
    sequence.append(10, b"x")
    sequence.rewind(SequenceState.PREFILL)
    assert sequence.path.tolist() == [*range(7), 8, 9, 10]


def test_only_a_first_token_can_be_late() -> None:
    """A deadline counts from the submission, and ends with the first token."""
    request = GenerationRequest("s", np.arange(7, dtype=np.int32), 10, deadline_ms=500)
    sequence = Sequence(request, Recorder(), clock=lambda: 20.0)
    assert not sequence.is_late(20.4)
    assert sequence.is_late(20.6)
    sequence.append(1, b"x")
    assert not sequence.is_late(20.6)


def test_progress_tells_done_and_total() -> None:
    """And is urgent: somebody watches a bar."""
    sequence, recorder, _ = _sequence()
    sequence.send_progress(4)
    assert recorder.received == [(PrefillProgress(4, 7), True)]


def test_finishing_sends_what_was_held_back_and_all_tokens() -> None:
    """An open stop string at the end is text after all; the end token belongs to the last delta."""
    sequence, recorder, sampler = _sequence("###")
    sequence.append(1, b"a#")
    sequence.append(2, b"#")
    sequence.append(3, b"")
    sequence.finish("stop")
    events = [event for event, _ in recorder.received]
    assert events[:2] == [TextDelta("a", (1,)), TextDelta("##", (2, 3))]
    last = events[2]
    assert isinstance(last, Finished)
    assert (last.reason, last.tokens.tolist()) == ("stop", [1, 2, 3])
    assert recorder.closed_with == [None]
    assert sampler.is_closed
    assert sequence.state is SequenceState.FINISHED


def test_a_completed_stop_string_is_reported() -> None:
    """The token that completes it says so, and nothing of it is sent."""
    sequence, recorder, _ = _sequence("##")
    assert not sequence.append(1, b"a#")
    assert sequence.append(2, b"#b")
    sequence.finish("stop")
    assert "".join(event.text for event, _ in recorder.received if isinstance(event, TextDelta)) == "a"


@pytest.mark.parametrize("error", [None, EngineError("broken")])
def test_an_abandoned_generation_frees_its_sampler(error: EngineError | None) -> None:
    """With an error or without; no Finished is sent."""
    sequence, recorder, sampler = _sequence()
    sequence.append(1, b"a")
    sequence.abandon(error)
    assert recorder.closed_with == [error]
    assert sampler.is_closed
    assert sequence.state is SequenceState.CANCELLED
    assert not any(isinstance(event, Finished) for event, _ in recorder.received)


def test_usage_adds_up() -> None:
    """Counts are those of the run, times lie between its marks."""
    sequence, _, _ = _sequence()
    sequence.num_reused_tokens, sequence.num_evaluated_tokens = 4, 3
    sequence.submitted_at, sequence.prefill_at, sequence.decode_at = 1.0, 1.5, 3.5
    sequence.append(9, b"x")
    usage = sequence.usage()
    assert (usage.num_prompt_tokens, usage.num_reused_tokens, usage.num_evaluated_tokens) == (7, 4, 3)
    assert usage.num_generated_tokens == 1
    assert (usage.queue_ms, usage.prefill_ms) == (500.0, 2000.0)
    assert usage.decode_ms > 0
