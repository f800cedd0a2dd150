"""What two processes say: errors keep their types, and a fingerprint is what llama.cpp is made to do."""

from dataclasses import replace

import numpy as np
import pytest

from qcn_agent.engine.backend import DecodeError
from qcn_agent.engine.engine_messages import error_of, failed, fingerprint
from qcn_agent.engine.generator import GenerationRequest, Priority, SamplingParams
from qcn_agent.engine.grammar import Grammar
from qcn_agent.errors import (
    ConfigError,
    ContextFullError,
    EngineError,
    ModelTooLargeError,
    QcnError,
    QuarantinedError,
    UsageError,
)

REQUEST = GenerationRequest("s", np.arange(10, dtype=np.int32), 8)


@pytest.mark.parametrize("kind", [ConfigError, ContextFullError, ModelTooLargeError, QuarantinedError, UsageError])
def test_errors_keep_type_message_and_hint(kind: type[QcnError]) -> None:
    """Each class of the tree."""
    again = error_of(failed(3, kind("no: good", hint="do this")))
    assert type(again) is kind
    assert (str(again), again.hint) == ("no: good", "do this")


def test_an_error_inside_the_engine_travels_as_its_public_base() -> None:
    """Callers know the tree only."""
    assert type(error_of(failed(1, DecodeError("x")))) is EngineError


def test_an_unforeseen_error_is_an_internal_one() -> None:
    """With a request to report it."""
    again = error_of(failed(1, KeyError("x")))
    assert type(again) is EngineError
    assert "KeyError('x')" in str(again)
    assert again.hint


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": np.arange(11, dtype=np.int32)},
        {"max_new_tokens": 9},
        {"sampling": SamplingParams(seed=1)},
        {"grammar": Grammar("root ::= [a-z]")},
        {"stop": ("x",)},
    ],
)
def test_fingerprints_tell_work_apart(change: dict[str, object]) -> None:
    """Prompt and parameters count."""
    assert fingerprint(replace(REQUEST, **change)) != fingerprint(REQUEST)  # type: ignore[arg-type]


def test_fingerprints_do_not_tell_askers_apart() -> None:
    """The same work in another session, class or hurry is the same work."""
    other = replace(REQUEST, session="t", priority=Priority.BACKGROUND, deadline_ms=5.0, prompt=REQUEST.prompt.copy())
    assert fingerprint(other) == fingerprint(REQUEST)
