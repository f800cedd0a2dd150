"""Grammars that keep sampled tool calls well-formed (GBNF, applied lazily from a trigger on)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Grammar:
    """A GBNF text with root rule `root`. Empty `triggers`: active from the first token; else from the first match.

    A trigger is a regular expression over the text generated so far; its first group, if any, is where the
    grammar's own text begins.
    """

    gbnf: str
    triggers: tuple[str, ...] = ()
