"""What a secret looks like, and where one would stand."""

import re

_SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{40,}|glpat-[\w-]{20,}|"
    r"sk-[A-Za-z0-9_-]{20,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}|"
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
)
_NAME = r"(?:api[_-]?key|secret|token|passw(?:or)?d|passphrase|private[_-]?key|credential|access[_-]?key|auth[_-]?key)"
_ASSIGNED = re.compile(rf"(?i){_NAME}\w*[\"'\]]*\s*(?::\s*\w+\s*)?(?:=|:|=>|\(|,)\s*[rbf]?[\"'`]([^\"'`]*)$")
_VALUE = re.compile(rf"(?i){_NAME}\w*[\"'\]]*\s*(?:=|:|=>)\s*[\"'`]([A-Za-z0-9+/_=-]{{16,}})[\"'`]")
_PLACEHOLDER = re.compile(r"(?i)your|example|change|placeholder|xxx|dummy|test|<|\$\{|env")


def has_secret(text: str) -> bool:
    """Whether a text holds what looks like a real key, or gives a key's name a long random value."""
    if _SECRETS.search(text):
        return True
    found = _VALUE.search(text)
    return found is not None and not _PLACEHOLDER.search(found.group(1)) and _is_random(found.group(1))


def _is_random(value: str) -> bool:
    return any(char.isdigit() for char in value) and len(set(value)) >= 8


def is_in_secret(line_before: str) -> bool:
    """Whether the cursor stands in a string whose name says that it holds a key."""
    return _ASSIGNED.search(line_before) is not None
