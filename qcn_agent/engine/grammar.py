"""Grammars that keep sampled tool calls well-formed (GBNF, applied lazily from a trigger on)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

_CLOSE = "\n</parameter>"
_ANY_ORDER_LIMIT = 4  # parameters; each order of more would need too many rules


@dataclass(frozen=True)
class Grammar:
    """A GBNF text with root rule `root`. Empty `triggers`: active from the first token; else from the first match.

    A trigger is a regular expression over the text generated so far; its first group, if any, is where the
    grammar's own text begins. It must match within the latest 48 tokens.
    """

    gbnf: str
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParameterShape:
    """One argument as the grammar sees it."""

    name: str
    type: Literal["string", "integer", "boolean"]
    required: bool = True


@dataclass(frozen=True)
class ToolShape:
    """One tool as the grammar sees it."""

    name: str
    parameters: tuple[ParameterShape, ...] = ()


def tool_call_grammar(tools: Sequence[ToolShape]) -> Grammar:
    """A lazy grammar for one call of one of `tools`, after which only the end of the answer may come.

    Each argument comes at most once and each required one exactly once: in any order up to four parameters, in the
    declared order beyond. A string value is any text without a line that begins with `</parameter>`.
    """
    calls = " | ".join(f"tool{index}" for index in range(len(tools)))
    rules = [f'root ::= ("<tool_call>\\n")? ({calls}) "</function>\\n</tool_call>"']
    for index, tool in enumerate(tools):
        rules.extend(_tool_rules(f"tool{index}", tool))
    rules.extend(_value_rules())
    triggers = ["<tool_call>", *(f"<function={re.escape(tool.name)}>" for tool in tools)]
    return Grammar("\n".join(rules) + "\n", tuple(triggers))


def _tool_rules(rule: str, tool: ToolShape) -> Iterator[str]:
    names = [f"{rule}-p{index}" for index in range(len(tool.parameters))]
    for name, parameter in zip(names, tool.parameters, strict=True):
        yield f"{name} ::= {_literal(f'<parameter={parameter.name}>' + chr(10))} value-{parameter.type}"
    head = _literal(f"<function={tool.name}>\n")
    if len(names) > _ANY_ORDER_LIMIT:
        optional = ("" if parameter.required else "?" for parameter in tool.parameters)
        yield f"{rule} ::= {head} {' '.join(map(''.join, zip(names, optional, strict=True)))}"
        return
    yield f"{rule} ::= {head} {_left(rule, (1 << len(names)) - 1)}"
    for mask in range(1 << len(names)):
        yield f"{_left(rule, mask)} ::= {_choices(rule, mask, tool.parameters)}"


def _left(rule: str, mask: int) -> str:
    """Name of the rule for what may follow while the parameters of `mask` have not come yet."""
    return f"{rule}-left{mask}"


def _choices(rule: str, mask: int, parameters: Sequence[ParameterShape]) -> str:
    remaining = [index for index in range(len(parameters)) if mask >> index & 1]
    ways = [f"{rule}-p{index} {_left(rule, mask & ~(1 << index))}" for index in remaining]
    if not any(parameters[index].required for index in remaining):
        ways.append('""')
    return " | ".join(ways)


def _value_rules() -> Iterator[str]:
    """Values up to and with their closing line. `text0` .. are the states of a search for the first `_CLOSE`."""
    end = _literal(_CLOSE + "\n")
    yield f'value-integer ::= "-"? [0-9]{{1,15}} {end}'
    yield f'value-boolean ::= ("true" | "false") {end}'
    yield "value-string ::= text1"  # a line break stands before the value already
    yield r"text0 ::= [^\n] text0 | [\n] text1"
    for state in range(1, len(_CLOSE)):
        expected = _CLOSE[state]
        after = f"text{state + 1}" if state + 1 < len(_CLOSE) else '"\\n"'
        yield rf"text{state} ::= [{expected}] {after} | [\n] text1 | [^{expected}\n] text0"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
