"""Where nothing is offered, so that a completion is never worse than silence: secrets, ignored files, huge ones."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from qcn_agent.completion.secret_text import is_in_secret
from qcn_agent.completion.values import Snapshot, Trigger
from qcn_agent.config import CompletionConfig
from qcn_agent.index.ignore import IgnoreRules

MAX_CHARS = 2 << 20
MAX_LINE_CHARS = 2_000
_NEAR_CHARS = 8_000
_SECRET_FILES = (
    ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.gpg", "*.asc",
    "id_rsa*", "id_ed25519*", "id_ecdsa*", "id_dsa*", ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd",
    "credentials", "credentials.*", "secrets.*", "*.secrets", "known_hosts", "authorized_keys", ".git-credentials",
)  # fmt: skip
_HARMLESS = (".env.example", ".env.sample", ".env.template", "credentials.py", "secrets.py")


class Gates:
    """The rules of one workspace.

    `is_ignored` says of a path whether version control ignores it, `is_busy` whether the agent works.
    """

    def __init__(
        self,
        config: CompletionConfig,
        is_ignored: Callable[[str], bool] = lambda path: False,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._config = config
        self._is_busy = is_busy
        self._excluded = IgnoreRules(config.exclude)
        self._is_ignored = is_ignored

    def refusal(self, snapshot: Snapshot, trigger: Trigger) -> str:
        """Why nothing is offered: the name of the gate; empty where something may be.

        A language that is switched off can still be completed when asked for, and so can any in calm; nothing else.
        """
        config = self._config
        if not config.enabled:
            return "off"
        if config.languages and snapshot.language not in config.languages and trigger is Trigger.AUTOMATIC:
            return "language"
        if config.calm and trigger is Trigger.AUTOMATIC and self._is_busy():
            return "calm"
        if is_secret_file(snapshot.name):
            return "secret_file"
        if self._excluded.match(snapshot.path):
            return "excluded"
        if len(snapshot.before) + len(snapshot.after) > MAX_CHARS:
            return "huge_file"
        if _has_long_line(snapshot):
            return "long_line"
        if is_in_secret(snapshot.line_before):
            return "secret_string"
        return "ignored" if self._is_ignored(snapshot.path) else ""


def is_secret_file(name: str) -> bool:
    """Whether a file of this name usually holds keys or passwords."""
    lower = name.lower()
    return lower not in _HARMLESS and any(fnmatchcase(lower, pattern) for pattern in _SECRET_FILES)


def _has_long_line(snapshot: Snapshot) -> bool:
    """Generated or minified text: near the cursor a line is longer than MAX_LINE_CHARS."""
    near = snapshot.before[-_NEAR_CHARS:] + snapshot.after[:_NEAR_CHARS]
    return max(map(len, near.split("\n"))) > MAX_LINE_CHARS
