"""The tool-call grammar admits exactly the well-formed calls, however wildly tokens are drawn."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from qcn_agent.engine.backend import Run
from qcn_agent.engine.generator import IntArray
from qcn_agent.engine.grammar import Grammar, ParameterShape, ToolShape, tool_call_grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_grammar import GrammarGate
from qcn_agent.engine.sampling import SamplingSettings

TOOLS = (
    ToolShape("read", (ParameterShape("path", "string"), ParameterShape("first_line", "integer", required=False))),
    ToolShape(
        "edit",
        (
            ParameterShape("path", "string"),
            ParameterShape("old", "string"),
            ParameterShape("new", "string"),
            ParameterShape("all", "boolean", required=False),
        ),
    ),
    ToolShape("many", tuple(ParameterShape(f"p{n}", "string", required=n < 3) for n in range(6))),
    ToolShape("finish"),
)
GRAMMAR = tool_call_grammar(TOOLS)


def _call(name: str, *arguments: tuple[str, str]) -> str:
    lines = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments)
    return f"<tool_call>\n<function={name}>\n{lines}</function>\n</tool_call>"


@pytest.fixture
def admits(backend: LlamaBackend) -> Callable[[str], bool]:
    """`admits(text)`: whether the grammar accepts the text and then an end."""
    end = int(backend.tokenize(b"<|im_end|>", parse_special=True)[0])

    def check(text: str) -> bool:
        gate = GrammarGate(backend.model.vocab, Grammar(GRAMMAR.gbnf))
        try:
            for token in [*backend.tokenize(text.encode(), parse_special=False).tolist(), end]:
                if not gate.allows(token):
                    return False
                if token != end:
                    gate.accept(token)
            return True
        finally:
            gate.close()

    return check


@pytest.mark.parametrize(
    "text",
    [
        _call("finish"),
        _call("read", ("path", "src/a.py")),
        _call("read", ("path", "src/a.py"), ("first_line", "-12")),
        _call("read", ("first_line", "7"), ("path", "a b.py")),
        _call("edit", ("new", ""), ("old", "x\n\ny"), ("path", "größe.py")),
        _call(
            "edit",
            ("path", "a"),
            ("old", "x </parameter> inside"),
            ("new", "</function>\n</tool_call>"),
            ("all", "true"),
        ),
        _call("edit", ("path", "a"), ("old", "\n</paramete\n</par"), ("new", "\n\n"), ("all", "false")),
        _call("many", ("p0", "a"), ("p1", "b"), ("p2", "c"), ("p4", "d")),
        _call("read", ("path", "a")).removeprefix("<tool_call>\n"),
    ],
)
def test_well_formed_calls_are_admitted(admits: Callable[[str], bool], text: str) -> None:
    """Any order up to four parameters, optional ones left out, values of any text, with or without the opening."""
    assert admits(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        _call("unknown"),
        _call("read"),
        _call("read", ("first_line", "1")),
        _call("read", ("path", "a"), ("path", "b")),
        _call("read", ("path", "a"), ("first_line", "one")),
        _call("read", ("path", "a"), ("first_line", "")),
        _call("edit", ("path", "a"), ("old", "b"), ("new", "c"), ("all", "maybe")),
        _call("edit", ("path", "a"), ("old", "b"), ("new", "c"), ("extra", "d")),
        _call("many", ("p1", "a"), ("p0", "b"), ("p2", "c")),
        _call("finish") + "\n",
        _call("finish")[:-1],
        _call("finish").replace("\n", "", 1),
    ],
)
def test_ill_formed_calls_are_not(admits: Callable[[str], bool], text: str) -> None:
    """Missing, repeated, unknown and ill-typed arguments, unknown tools, text around the call."""
    assert not admits(text)


def test_a_value_ends_at_its_first_closing_line(admits: Callable[[str], bool]) -> None:
    """Text after `</parameter>` at the start of a line belongs to the call, not to the value."""
    assert not admits(_call("read", ("path", "a\n</parameter>\nb")))
    assert admits("<function=read>\n<parameter=path>\n</parameter>\n</function>\n</tool_call>")


def test_names_are_quoted() -> None:
    """Characters with a meaning in GBNF or in regular expressions stay themselves."""
    grammar = tool_call_grammar([ToolShape('a"b\\c.d', (ParameterShape('x"y', "string"),))])
    assert r'"<function=a\"b\\c.d>\n"' in grammar.gbnf
    assert r'"<parameter=x\"y>\n"' in grammar.gbnf
    assert re.search(grammar.triggers[1], '<function=a"b\\c.d>')
    assert not re.search(grammar.triggers[1], '<function=a"b\\cxd>')


def _is_well_formed(text: str) -> bool:
    """An independent reading of a call, without the grammar."""
    match = re.fullmatch(r"(?:<tool_call>\n)?<function=(\w+)>\n(.*)</function>\n</tool_call>", text, re.DOTALL)
    tool = next((tool for tool in TOOLS if match and tool.name == match[1]), None)
    if match is None or tool is None:
        return False
    body, given = match[2], []
    while argument := re.match(r"<parameter=(\w+)>\n(?:(.*?)\n)??</parameter>\n", body, re.DOTALL):
        given.append((argument[1], argument[2]))
        body = body[argument.end() :]
    names = [name for name, _ in given]
    required = {parameter.name for parameter in tool.parameters if parameter.required}
    known = {parameter.name for parameter in tool.parameters}
    return not body and len(set(names)) == len(names) and required <= set(names) <= known


@pytest.mark.parametrize(
    "start",
    [
        ["<tool_call>"],
        ["I will look.\n", "<tool_call>"],
        ["<", "tool", "_", "call", ">"],
        ["<", "function", "=", "read", ">"],
        ["x <", "function", "=finish", ">\n"],
    ],
)
def test_a_triggered_call_is_well_formed_at_any_temperature(
    backend: LlamaBackend, random_tokens: Callable[[int, int], IntArray], start: list[str]
) -> None:
    """However the trigger is spelled, answers drawn at temperatures up to 1.5 that end by themselves all parse."""
    complete = 0
    for seed in range(24):  # which of them end is the model's business, so as many as it takes
        if complete == 3:
            break
        text, ended = _draw_after(backend, start, random_tokens(10, seed), seed)
        if ended:
            complete += 1
            assert _is_well_formed(text[re.search("<tool_call>|<function=", text).start() :]), text  # type: ignore[union-attr]
    if not complete:
        pytest.skip("none of these answers ended within its limit, which is the model's business")


def _draw_after(backend: LlamaBackend, start: list[str], prompt: IntArray, seed: int) -> tuple[str, bool]:
    """The text of an answer that begins with the pieces of `start`, and whether it ended within 120 tokens."""
    settings = SamplingSettings(temperature=(1.5, 0.8, 0.3)[seed % 3], top_k=0, top_p=1.0, seed=seed)
    sampler = backend.sampler(settings, GRAMMAR)
    gate = sampler._gate
    assert gate is not None
    tokens = [t for part in start for t in backend.tokenize(part.encode(), parse_special=False).tolist()]
    for token in tokens:
        assert gate.allows(token)
        gate.accept(token)
    assert gate.is_active
    backend.drop(0)
    path = np.concatenate([prompt, np.array(tokens, np.int32)])
    backend.decode([Run(0, path, 0, True)])
    for position in range(len(path), len(path) + 120):
        token = sampler.sample(position)
        if backend.is_end(token):
            break
        tokens.append(token)
        backend.decode([Run(0, np.array([token], np.int32), position, True)])
    sampler.close()
    return b"".join(backend.piece(t, special=True) for t in tokens).decode(errors="replace"), backend.is_end(token)
