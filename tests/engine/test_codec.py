"""Every kind of value that the engine's interface has survives the way through bytes."""

import math
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import ModelConfig, SchedulerConfig
from qcn_agent.engine import codec
from qcn_agent.engine.engine_messages import Close, Order
from qcn_agent.engine.generator import (
    Event,
    Finished,
    GenerationRequest,
    PrefillProgress,
    Priority,
    SamplingParams,
    TextDelta,
    TokenLogprob,
    Usage,
)
from qcn_agent.engine.grammar import Grammar
from qcn_agent.errors import UsageError


def sent(kind: Any, value: Any) -> Any:
    """Packed and unpacked, its length as the head says."""
    data = codec.pack(value)
    num_text, num_arrays = codec.HEAD.unpack_from(data)
    begin = codec.HEAD.size
    assert len(data) == begin + num_text + num_arrays
    return codec.unpack(kind, data[begin : begin + num_text], data[begin + num_text :])


@pytest.mark.parametrize(
    "event",
    [
        PrefillProgress(3, 7),
        TextDelta("naïve \ud800 \0", (1, 2)),
        TextDelta("x", (1,), (TokenLogprob(1, -0.5, ((1, -0.5), (2, -math.inf))),)),
    ],
)
def test_events_of_a_union(event: Event) -> None:
    """Each comes back as what it was, lone surrogates and infinities included."""
    assert sent(Event, event) == event


def test_the_last_event() -> None:
    """It carries an array, which may be written to, and nested counters."""
    finished = sent(Event, Finished("stop", np.array([1, 2], np.int32), Usage(num_prompt_tokens=5, decode_ms=1.5)))
    assert (finished.reason, finished.usage) == ("stop", Usage(num_prompt_tokens=5, decode_ms=1.5))
    assert (finished.tokens.tolist(), finished.tokens.dtype) == ([1, 2], np.int32)
    finished.tokens[0] = 9


def test_a_request() -> None:
    """Enumerations, optional values, tuples of pairs, numbers of numpy."""
    request = GenerationRequest(
        "s",
        np.arange(5, dtype=np.int32),
        8,
        boundaries=(1, np.int64(3)),  # type: ignore[arg-type]
        sampling=SamplingParams(temperature=0.5, logit_bias=((3, -math.inf), (4, 1.0))),
        grammar=Grammar("root ::= [a-z]", ("<x>",)),
        stop=("\n",),
        priority=Priority.COMPLETION,
        deadline_ms=20.0,
    )
    again = sent(GenerationRequest, request)
    assert again.prompt.tolist() == [0, 1, 2, 3, 4]
    assert again.priority is Priority.COMPLETION
    for name in ("boundaries", "sampling", "grammar", "stop", "deadline_ms", "max_new_tokens"):
        assert getattr(again, name) == getattr(request, name)
    assert sent(GenerationRequest, GenerationRequest("s", again.prompt, 8)).grammar is None


def test_a_message_without_fields() -> None:
    """Its name is all there is of it."""
    assert sent(Order, Close()) == Close()


@pytest.mark.parametrize(
    "config", [ModelConfig(tensor_split=(1.0, 2.0), override_tensor=("a=CPU",)), SchedulerConfig()]
)
def test_settings(config: Any) -> None:
    """Frozen dataclasses of plain values."""
    assert sent(type(config), config) == config


@pytest.mark.parametrize("array", [np.empty(0), np.array([[5, 6]]), np.array([0.5]), np.empty((0, 3), np.int8)])
def test_arrays_keep_type_and_shape(array: "np.ndarray[Any, Any]") -> None:
    """Also those that no engine accepts: it is the engine that refuses them."""
    again = sent(GenerationRequest, GenerationRequest("s", array, 1)).prompt
    assert (again.shape, again.dtype) == (array.shape, array.dtype)
    assert again.tolist() == array.tolist()


@pytest.mark.parametrize(
    "request_",
    [GenerationRequest("s", np.array([None]), 1), GenerationRequest("s", np.arange(3), object())],  # type: ignore[arg-type]
)
def test_what_is_no_value_is_refused(request_: GenerationRequest) -> None:
    """Nothing that would be a pointer or need a pickle is sent."""
    with pytest.raises(UsageError, match="can't be sent"):
        codec.pack(request_)
