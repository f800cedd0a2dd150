"""What the room is asked and what it answers."""

import enum
import functools
from dataclasses import dataclass
from pathlib import PurePosixPath

from qcn_agent.index.languages import BY_NAME, TEXT, language_of

_EDITOR_NAMES = {  # of languages whose grammar goes by another name
    "typescriptreact": "tsx",
    "javascriptreact": "javascript",
    "shellscript": "bash",
    "cuda-cpp": "cpp",
}


class Trigger(enum.Enum):
    """Why there is a request: the user typed, or asked for it."""

    AUTOMATIC = "automatic"
    INVOKED = "invoked"


class Kind(enum.Enum):
    """How much is offered: nothing, up to the end of a line, or several lines."""

    NONE = "none"
    LINE = "line"
    BLOCK = "block"


@dataclass(frozen=True)
class Snapshot:
    """A document and the cursor in it, as they were when the request came.

    `path` is what the model and the rules read: relative to the workspace, with slashes. `before` and `after` are the
    text on both sides of the cursor, line ends as LF. `language` is the editor's name of it.
    """

    uri: str
    path: str
    language: str
    version: int
    before: str
    after: str

    @functools.cached_property
    def line_start(self) -> int:
        """Where the cursor's line begins in `before`."""
        return self.before.rfind("\n") + 1

    @functools.cached_property
    def line_before(self) -> str:
        """The cursor's line up to the cursor."""
        return self.before[self.line_start :]

    @functools.cached_property
    def line_after(self) -> str:
        """The rest of the cursor's line."""
        return self.after.partition("\n")[0]

    @functools.cached_property
    def grammar(self) -> str:
        """The name of the grammar that reads it; "text" where there is none."""
        name = _EDITOR_NAMES.get(self.language, self.language)
        return name if name in BY_NAME else language_of(self.path)

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return PurePosixPath(self.path).name

    def with_text(self, text: str) -> "Snapshot":
        """The same document once `text` has been inserted, the cursor behind it."""
        return Snapshot(self.uri, self.path, self.language, self.version, self.before + text, self.after)


@dataclass(frozen=True)
class Completion:
    """`text` is to be inserted at the cursor of the document `uri` at `version`.

    `source`: "cache", "stream" (a generation begun for an earlier key) or "model". `is_whole`: the model had ended;
    otherwise it was cut because time was up. `mean_logprob` of its first line, where it is known.
    """

    id: int
    uri: str
    version: int
    text: str
    source: str
    is_whole: bool
    kind: Kind


def indent_of(line: str) -> str:
    """The blanks that a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def is_code(grammar: str) -> bool:
    """Whether a grammar reads it."""
    return grammar != TEXT
