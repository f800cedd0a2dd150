"""How packed context looks: what stands around the files that are shown before the issue."""

HEAD = ("<repository>\n", "</repository>\n")
ISSUE_PART = ("<code>\n", "</code>\n")
TREE = ("<tree>\n", "</tree>\n")
SIGNATURES = ("<signatures>\n", "</signatures>\n")
GAP = "[…]\n"
_MAX_NAME = 400


def file(path: str) -> tuple[str, str]:
    """What stands before and after (parts of) a file."""
    return f'<file path="{shown_name(path)}">\n', "</file>\n"


def instructions(path: str) -> tuple[str, str]:
    """What stands around what a project's own AGENTS.md asks for."""
    return f'<instructions path="{shown_name(path)}">\n', "</instructions>\n"


def shown_name(path: str) -> str:
    """A path on one line: control characters, quotes and bytes that are no UTF-8 are escaped as in Python.

    A very long one is cut.
    """
    shown = "".join(_shown(character) for character in path)
    return shown if len(shown) <= _MAX_NAME else shown[: _MAX_NAME - 1] + "…"


def _shown(character: str) -> str:
    if character in '"\\' or not character.isprintable():
        return "\\" + character if character in '"\\' else character.encode("unicode_escape").decode("ascii")
    return character
