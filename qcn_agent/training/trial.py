"""Runs trusted textbook code in this process, with limits on steps and time."""

import gc
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

MAX_STEPS = 4000  # traced lines of one evaluation
MAX_SECONDS = 0.2  # of CPU time: a mutant may also grow without bound inside one step
TRACED_FILE = "<textbook>"  # only code compiled under this name counts as steps
FLOAT_DIGITS = 9
MAX_GOT_CHARS = 120


class OutOfStepsError(BaseException):
    """The code did not end within its limits. Not an Exception: the code under trial may catch those."""


@dataclass(frozen=True)
class Expectation:
    """`expression` should evaluate to the value whose repr is `want`; a rounded float is not `exact`."""

    expression: str
    want: str
    exact: bool = True


@dataclass(frozen=True)
class Failure:
    """`expression` should be `want`, but is `got`: a repr, or "TypeError: ..." for an exception, or "Timeout"."""

    expression: str
    want: str
    got: str


def representation(value: object) -> str:
    """repr with floats rounded, so that it does not depend on the last bit."""
    return repr(round(value, FLOAT_DIGITS) if isinstance(value, float) else value)


@contextmanager
def limited(max_steps: int = MAX_STEPS, max_seconds: float = MAX_SECONDS) -> Iterator[None]:
    """Raise OutOfStepsError in the body when it runs for too long. Main thread only (it uses SIGPROF)."""
    left = max_steps

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        nonlocal left
        if frame.f_code.co_filename != TRACED_FILE:
            return None
        left -= 1
        if left < 0:
            raise OutOfStepsError
        return trace

    def alarm(signum: int, frame: FrameType | None) -> None:
        raise OutOfStepsError

    old_trace, old_handler = sys.gettrace(), signal.signal(signal.SIGPROF, alarm)
    collects = gc.isenabled()
    gc.disable()  # the process may be large: its garbage is not this code's time, nor the place for our error
    try:
        signal.setitimer(signal.ITIMER_PROF, max_seconds)
        sys.settrace(trace)
        yield
    finally:
        sys.settrace(old_trace)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old_handler)
        if collects:
            gc.enable()


def execute(code: str | CodeType, env: dict[str, Any]) -> None:
    """Run a module's text or code in `env`. Trusted code only: our own templates and their mutants."""
    exec(compile(code, TRACED_FILE, "exec") if isinstance(code, str) else code, env)  # noqa: S102


def evaluate(expression: str, env: dict[str, Any]) -> Any:
    """Value of a trusted expression."""
    return eval(expression, env)  # noqa: S307


def failures(text: str, expectations: Sequence[Expectation]) -> list[Failure]:
    """The expectations that the module `text` does not meet."""
    env: dict[str, Any] = {"__name__": "textbook"}
    try:
        execute(text, env)
    except Exception as error:
        return [Failure(e.expression, e.want, _describe(error)) for e in expectations]
    results = [(e, _got(e.expression, env)) for e in expectations]
    return [Failure(e.expression, e.want, got[:MAX_GOT_CHARS]) for e, got in results if got != e.want]


def _got(expression: str, env: dict[str, Any]) -> str:
    try:
        with limited():
            return representation(evaluate(expression, env))
    except OutOfStepsError:
        return "Timeout"
    except Exception as error:
        return _describe(error)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:80]}"
