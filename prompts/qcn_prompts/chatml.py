"""ChatML turns as Qwen3-Coder was trained on them.

A turn is a list of pieces (text, special). Only special pieces may become control tokens, so text that spells
`<|im_end|>` stays text. Turns are rendered once and appended; nothing is ever rendered again.
"""

from collections.abc import Sequence

Piece = tuple[str, bool]

START: Piece = ("<|im_start|>", True)
END: Piece = ("<|im_end|>", True)
NEWLINE: Piece = ("\n", False)


def turn(role: str, text: str) -> list[Piece]:
    """A complete turn of `role` ("system", "user")."""
    return [START, (f"{role}\n{text}", False), END, NEWLINE]


def turn_around(role: str) -> tuple[list[Piece], list[Piece]]:
    """What stands before and after the text of a complete turn whose text is given as tokens."""
    return [START, (f"{role}\n", False)], [END, NEWLINE]


def tool_responses(texts: Sequence[str]) -> list[Piece]:
    """The results of one assistant turn's calls, in order: they share one user turn."""
    return turn("user", "".join(f"<tool_response>\n{text}\n</tool_response>\n" for text in texts))


def assistant_header() -> list[Piece]:
    """What makes the model speak."""
    return [START, ("assistant\n", False)]


def assistant_end(*, ended: bool) -> list[Piece]:
    """What closes an assistant turn that was sampled; `ended` says whether it drew its own `<|im_end|>`."""
    return [NEWLINE] if ended else [END, NEWLINE]


def assistant(text: str) -> list[Piece]:
    """A complete assistant turn with given words, for training documents and golden tests."""
    return [*assistant_header(), (text, False), END, NEWLINE]


def tool_call(name: str, arguments: dict[str, str]) -> str:
    """A well-formed call as the model is expected to write it."""
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    return f"<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>"
