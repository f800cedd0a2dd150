"""Nothing, a line or a block: by the syntax tree around the cursor, else by the text of its line."""

import re
from collections.abc import Sequence

from qcn_agent.completion.brackets import open_brackets
from qcn_agent.completion.values import Kind, Snapshot, Trigger, is_code
from qcn_agent.index.syntax import NodeSpan, Tree, enclosing, parse

MAX_TOKENS = {Kind.LINE: 48, Kind.BLOCK: 160}
MAX_INVOKED_TOKENS = 256
_BEFORE_CHARS, _AFTER_CHARS = 8_000, 4_000  # looked at; a parse of so much takes about a millisecond
_CLOSERS = " \t)]}>,;:\"'`"
_OPENER = re.compile(r"(?::|\{|=>|->|\b(?:do|then|else|begin))\s*$")
_COMMENT_LEADS = ("#", "//", "/*", "--", "*", ";", "%", '"""')
_QUOTED = re.compile(r"\\.|[\"'`]")
_IN_LIST = ("argument", "parameter", "array", "list", "dictionary", "object", "tuple", "parenthesized", "subscript")
_INTERPOLATIONS = ("interpolation", "template_substitution")
_BLOCKS = ("block", "body", "suite", "statement_list", "declaration_list")


def decide(snapshot: Snapshot, trigger: Trigger, multiline: str = "auto") -> Kind:
    """What is offered here; `multiline` is the setting "auto", "never" or "always"."""
    if snapshot.line_after.strip(_CLOSERS):
        return Kind.LINE if trigger is Trigger.INVOKED or not _is_in_word(snapshot) else Kind.NONE
    if multiline == "never":
        return Kind.LINE
    if multiline == "always" or trigger is Trigger.INVOKED:
        return Kind.BLOCK
    tree, at = _tree(snapshot)
    if _is_in_text(snapshot, tree, at):
        return Kind.LINE
    return Kind.BLOCK if _opens_block(snapshot, tree, at) else Kind.LINE


def max_tokens(kind: Kind, trigger: Trigger, setting: int = 0) -> int:
    """The longest answer in tokens; `setting` other than 0 goes before the defaults."""
    return setting or (MAX_INVOKED_TOKENS if trigger is Trigger.INVOKED else MAX_TOKENS[kind])


def is_in_text(snapshot: Snapshot) -> bool:
    """Whether the cursor is in a string or a comment."""
    return _is_in_text(snapshot, *_tree(snapshot))


def _is_in_word(snapshot: Snapshot) -> bool:
    """Letters on both sides of the cursor, or a word right behind it: what comes is there already."""
    return _is_word(snapshot.line_after[:1])


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _tree(snapshot: Snapshot) -> tuple[Tree | None, int]:
    """The tree of the text near the cursor, and the cursor in it, in bytes."""
    if not is_code(snapshot.grammar):
        return None, 0
    before = near(snapshot.before)
    source = (before + snapshot.after[:_AFTER_CHARS]).encode("utf-8", "replace")
    return parse(source, snapshot.grammar, max_s=0.02), len(before.encode("utf-8", "replace"))


def near(before: str) -> str:
    """The end of the text before the cursor, from a line on that is not indented, so that it parses by itself."""
    if len(before) <= _BEFORE_CHARS:
        return before
    tail = before[-_BEFORE_CHARS:]
    found = re.search(r"(?m)^[^\s)\]}]", tail[tail.find("\n") + 1 :])
    return tail[tail.find("\n") + 1 :][found.start() :] if found else tail


def _is_in_text(snapshot: Snapshot, tree: Tree | None, at: int) -> bool:
    if tree is None or not at:
        return _is_in_text_by_line(snapshot.line_before)
    inside = enclosing(tree, at - 1)
    string: NodeSpan | None = None
    for span in inside:
        if "comment" in span.kind:
            return span.end_byte > at or (span.end_byte == at and "block" not in span.kind)
        if span.kind in _INTERPOLATIONS:
            break
        if "string" in span.kind:
            string = span  # the outermost one has the quotes
    if string is not None:
        return string.start_byte < at < string.end_byte
    return _is_broken(inside) and _is_in_text_by_line(snapshot.line_before)


def _is_broken(spans: Sequence[NodeSpan]) -> bool:
    """Whether the tree says little here: an open quote makes an error of the rest of the line."""
    return any(span.kind == "ERROR" for span in spans)


def _is_in_text_by_line(line_before: str) -> bool:
    """An open quote, or a comment that the line begins with."""
    if line_before.lstrip().startswith(_COMMENT_LEADS):
        return True
    quote = ""
    for match in _QUOTED.finditer(line_before):
        mark = match.group()
        if not quote and len(mark) == 1:
            quote = mark
        elif mark == quote:
            quote = ""
    return bool(quote)


def _opens_block(snapshot: Snapshot, tree: Tree | None, at: int) -> bool:
    """After what opens a block, or on an empty line where statements stand."""
    line = snapshot.line_before
    if line.strip():
        return bool(_OPENER.search(line)) and not _is_within_list(snapshot, tree, at)
    return not snapshot.line_after.strip() and not _is_within_list(snapshot, tree, at)


def _is_within_list(snapshot: Snapshot, tree: Tree | None, at: int) -> bool:
    """Between brackets: what stands there goes on by lines. A dictionary's colon opens no block."""
    spans = () if tree is None else enclosing(tree, max(0, at - 1))
    if tree is None or _is_broken(spans):
        return _is_within_brackets(snapshot)
    for span in spans:
        if span.kind.endswith(_BLOCKS):
            return False
        if any(word in span.kind for word in _IN_LIST) and span.start_byte < at < span.end_byte:
            return True
    return False


def _is_within_brackets(snapshot: Snapshot) -> bool:
    """By the innermost open bracket. A brace opens a block, but in Python."""
    stack = open_brackets(near(snapshot.before))
    return bool(stack) and (stack[-1] != "{" or snapshot.grammar == "python")
