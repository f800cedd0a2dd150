"""What an engine in a process of its own and its owner say to each other. Every message is a value `codec` can write.

A generation or a question has a number, which its answers carry.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from qcn_agent import errors
from qcn_agent.config import CompletionConfig, ModelConfig, SchedulerConfig
from qcn_agent.engine.generator import Event, GenerationRequest, IntArray
from qcn_agent.engine.status import EngineStatus
from qcn_agent.errors import EngineError, QcnError


@dataclass(frozen=True)
class Load:
    """The first message: load the model at `path`. Progress follows, then Loaded, or Failed with number 0."""

    model: ModelConfig
    path: str
    scheduling: SchedulerConfig
    trace: str = ""  # file; empty: none
    completion: CompletionConfig = field(default_factory=CompletionConfig)


@dataclass(frozen=True)
class MarkedRequest(GenerationRequest):
    """A request with its fingerprint. `for_completion`: whatever its priority, the completions' model serves it."""

    fingerprint: str = ""
    for_completion: bool = False


@dataclass(frozen=True)
class Generate:
    """Start a generation: any number of Emitted, then Ended or Failed."""

    number: int
    request: MarkedRequest


@dataclass(frozen=True)
class Cancel:
    """Nobody wants the generation any more. It ends like any other."""

    number: int


@dataclass(frozen=True)
class DropSession:
    """See `Engine.drop_session`."""

    name: str


@dataclass(frozen=True)
class Encode:
    """See `Vocabulary.encode`. Answered by Tokens."""

    number: int
    pieces: tuple[tuple[str, bool], ...]
    for_completion: bool = False


@dataclass(frozen=True)
class Decode:
    """See `Vocabulary.decode`. Answered by Text."""

    number: int
    tokens: IntArray
    special: bool
    for_completion: bool = False


@dataclass(frozen=True)
class AskStatus:
    """Answered by Status."""

    number: int


@dataclass(frozen=True)
class Close:
    """Close the engine, then end."""


@dataclass(frozen=True)
class Progress:
    """So much of the model is loaded, 0 .. 1."""

    fraction: float


@dataclass(frozen=True)
class Facts:
    """What never changes of an engine."""

    n_ctx: int
    metadata: Mapping[str, str]
    end_tokens: IntArray


@dataclass(frozen=True)
class Loaded:
    """The model is there, and the completions' own one, if there is such; the status as it is now."""

    agent: Facts
    completion: Facts | None
    status: EngineStatus


@dataclass(frozen=True)
class Emitted:
    """An event of a generation."""

    number: int
    event: Event


@dataclass(frozen=True)
class Ended:
    """No event of this generation follows."""

    number: int


@dataclass(frozen=True)
class Failed:
    """Likewise, or a question without an answer: an error by the name of its class in `errors`."""

    number: int
    kind: str
    message: str
    hint: str


@dataclass(frozen=True)
class Tokens:
    """The answer to Encode."""

    number: int
    value: IntArray


@dataclass(frozen=True)
class Text:
    """The answer to Decode."""

    number: int
    value: str


@dataclass(frozen=True)
class Status:
    """The answer to AskStatus."""

    number: int
    value: EngineStatus


Question = Encode | Decode | AskStatus
Order = Load | Generate | Cancel | DropSession | Question | Close
Answer = Tokens | Text | Status
Report = Progress | Loaded | Emitted | Ended | Failed | Answer


def failed(number: int, error: BaseException) -> Failed:
    """`error` as a message. One that is not of this program's tree becomes an EngineError."""
    if not isinstance(error, QcnError):
        return Failed(number, EngineError.__name__, f"internal error: {error!r}", "please report this")
    kind = next(base.__name__ for base in type(error).__mro__ if getattr(errors, base.__name__, None) is base)
    return Failed(number, kind, str(error), error.hint)


def error_of(failed: Failed) -> QcnError:
    """The error that was sent."""
    kind: type[QcnError] = getattr(errors, failed.kind)
    return kind(failed.message, hint=failed.hint)


def fingerprint(request: GenerationRequest) -> str:
    """What llama.cpp is made to do, as 32 hexadecimal digits: who asks, and how urgently, is not part of it."""
    parameters = (request.prompt.dtype.str, request.max_new_tokens, request.sampling, request.grammar, request.stop)
    digest = hashlib.blake2b(repr(parameters).encode(errors="replace"), digest_size=16)
    digest.update(request.prompt.tobytes())
    return digest.hexdigest()
