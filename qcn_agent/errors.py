"""Every error a user can meet, in one tree.

QcnError                    something went wrong; `str()` says what, `hint` says what to do next
├── UsageError              the caller asked for something that can't be done (exit 2)
│   └── ConfigError         a setting is wrong: names the key, its source and the allowed range
├── ModelError              the model can't be used (exit 2)
│   ├── ModelNotFoundError  no such file
│   ├── ModelFormatError    not a GGUF, truncated, or an architecture this build doesn't know
│   └── ModelTooLargeError  it would not fit into memory; checked before loading
├── EngineError             generation failed
│   ├── ContextFullError    the prompt does not fit into n_ctx
│   ├── RequestCancelledError  the request was cancelled
│   ├── EngineDiedError     the engine's process ended, not because of this request: ask again
│   └── QuarantinedError    the engine's process ended at this request: it is not run again for a while
├── PromptError             a prompt could not be rendered (a variable is missing)
├── SandboxError            commands can't be jailed here, and running them unjailed was not allowed (exit 5)
├── DaemonError             the daemon can't be reached or refused us (exit 6)
│   └── DaemonDiedError     the connection was lost in the middle of the work
├── IndexingError           a workspace's index can't be brought up to date; what is stored can still be asked
└── JournalError            an undo journal can't be used
    ├── LiveRunError        its run is still going on
    └── DamagedJournalError what is in it can't be trusted
"""


class QcnError(Exception):
    """Base of all errors of this program.

    `hint` is one line that says what the user can do next; `exit_code` is what the command line returns.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(QcnError):
    """The request itself is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is malformed, unknown or out of range."""


class ModelError(QcnError):
    """The model file can't be used."""

    exit_code = 2


class ModelNotFoundError(ModelError):
    """The model path names no readable file."""


class ModelFormatError(ModelError):
    """The file is not a GGUF, is damaged, or holds an architecture this build does not know."""


class ModelTooLargeError(ModelError):
    """Loading would exceed the memory that is available now."""


class EngineError(QcnError):
    """Generation failed; the session was put back to its last good state."""


class ContextFullError(EngineError):
    """The prompt and its answer do not fit into the context window."""


class RequestCancelledError(EngineError):
    """The request was cancelled by its owner."""


class EngineDiedError(EngineError):
    """The process that holds the model ended while the request was open. It may be made again."""


class QuarantinedError(EngineError):
    """The process that holds the model ended while it worked on this request, which is not run again for a while."""


class PromptError(QcnError):
    """A prompt template could not be rendered."""


class SandboxError(QcnError):
    """Commands can't be confined on this machine."""

    exit_code = 5


class DaemonError(QcnError):
    """The daemon is unreachable, refused the connection, or went away."""

    exit_code = 6


class DaemonDiedError(DaemonError):
    """The connection to the daemon was lost while a request was open."""


class IndexingError(QcnError):
    """The index of a workspace could not be refreshed: no room, no permission, or its process ended."""


class JournalError(QcnError):
    """The undo journal can't be used."""


class LiveRunError(JournalError):
    """The run is still going on, so its changes are its own."""


class DamagedJournalError(JournalError):
    """The record of a run can't be read, so nothing is put back by it."""
