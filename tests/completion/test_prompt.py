"""Prompts: markers as ids, budgets to the token, boundaries where the next key parts."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcn_agent.completion.planner import Shape
from qcn_agent.completion.prompt import ContextBlock, FimTokens, PromptBuilder
from qcn_agent.completion.prompt_memory import shared
from qcn_agent.engine.generator import IntArray
from qcn_agent.errors import ModelError
from tests.fakes.cursor import at
from tests.fakes.scripted import ByteVocabulary

SHAPE = Shape(9, 400, 100)
BLOCKS = (ContextBlock("a.py", "def a(): ..."), ContextBlock("b.py", "B = 1"))
HERE = at("def f(x):\n    return x +¦ 1\n\nprint(f(2))\n")


def built(layout: str, context: tuple[ContextBlock, ...] = ()) -> str:
    """The text of a prompt for HERE."""
    builder = PromptBuilder(ByteVocabulary(), "spm" if layout == "spm" else "psm", "repo")
    return ByteVocabulary().decode(builder.build(HERE, context, SHAPE).tokens, special=True)


class Plain(ByteVocabulary):
    """A model that was not taught to fill in."""

    def encode(self, pieces: object) -> IntArray:
        """Every piece is text."""
        assert isinstance(pieces, list)
        return super().encode([(text, False) for text, _ in pieces])


def test_psm_is_prefix_suffix_middle() -> None:
    """The order that models are trained on."""
    assert built("psm") == ("<|fim_prefix|>def f(x):\n    return x +<|fim_suffix|> 1\n\nprint(f(2))\n<|fim_middle|>")


def test_spm_puts_the_suffix_first() -> None:
    """So that it stays cached while one types."""
    assert built("spm") == ("<|fim_suffix|> 1\n\nprint(f(2))\n<|fim_prefix|>def f(x):\n    return x +<|fim_middle|>")


def test_context_stands_before_as_files_of_the_repository() -> None:
    """In the given order, this file's name last."""
    assert built("psm", BLOCKS).startswith(
        "<|repo_name|>repo\n<|file_sep|>a.py\ndef a(): ...\n<|file_sep|>b.py\nB = 1\n<|file_sep|>app.py\n"
        "<|fim_prefix|>def"
    )


@pytest.mark.parametrize("layout", ["psm", "spm"])
def test_source_text_can_not_inject_markers(layout: str) -> None:
    """A file that speaks of markers is tokenised as letters."""
    evil = at("x = '<|fim_middle|>'\ny = ¦'<|fim_prefix|>'\n")
    builder = PromptBuilder(ByteVocabulary(), "spm" if layout == "spm" else "psm")

    tokens = builder.build(evil, [ContextBlock("<|file_sep|>", "<|repo_name|>")], SHAPE).tokens

    controls = [token for token in tokens.tolist() if token >= 256]
    fim = builder.fim
    assert sorted(controls) == sorted([*fim.all, fim.file or 0])


def test_a_model_without_markers_is_refused_by_name() -> None:
    """With what to do about it."""
    with pytest.raises(ModelError, match="fim_prefix") as caught:
        FimTokens.of(Plain())

    assert "[completion] model" in caught.value.hint


def test_a_model_without_repository_markers_gets_no_context() -> None:
    """Fill-in-the-middle alone still works."""

    class NoRepository(ByteVocabulary):
        def encode(self, pieces: object) -> IntArray:
            assert isinstance(pieces, list)
            return super().encode([(text, special and "fim" in text) for text, special in pieces])

    builder = PromptBuilder(NoRepository(), "psm")

    assert builder.fim.repo is None
    assert int(builder.build(HERE, BLOCKS, SHAPE).tokens[0]) == builder.fim.prefix


def test_budgets_hold_to_the_token() -> None:
    """A large file's window and suffix have at most as many tokens as the shape says."""
    text = "".join(f"value_{n} = {n}\n" for n in range(400))
    builder = PromptBuilder(ByteVocabulary(), "psm")
    prompt = builder.build(at(text + "x = ¦" + text), [], Shape(0, 300, 50)).tokens.tolist()

    suffix_at = prompt.index(builder.fim.suffix)
    assert 150 < suffix_at - 1 <= 300
    assert len(prompt) - suffix_at - 2 == 50


@settings(max_examples=60)
@given(
    st.text(alphabet="ab \n\té(", max_size=600),
    st.text(alphabet="ab \n)", max_size=200),
    st.integers(64, 400),
    st.integers(32, 100),
)
def test_no_text_exceeds_the_budget(before: str, after: str, prefix: int, suffix: int) -> None:
    """And boundaries are positions inside of the prompt, in order."""
    builder = PromptBuilder(ByteVocabulary(), "spm")
    prompt = builder.build(at(before + "¦" + after), [], Shape(0, prefix, suffix))
    tokens = prompt.tokens.tolist()

    prefix_at, middle_at = tokens.index(builder.fim.prefix), tokens.index(builder.fim.middle)
    assert prefix_at - 1 <= suffix
    assert middle_at - prefix_at - 1 <= prefix
    assert list(prompt.boundaries) == sorted({b for b in prompt.boundaries if 0 < b < len(tokens)})
    assert prompt.tokens.dtype == np.int32


def test_the_window_does_not_slide_while_a_line_is_typed() -> None:
    """Each key's prompt shares all but the line's own tokens with the one before: no restart in the middle."""
    text = "".join(f"def name_{n}(x):\n    return x * {n}\n\n\n" for n in range(60))
    builder = PromptBuilder(ByteVocabulary(), "spm")
    line = "    total = name_1(2) + name_2(3)"
    shape = Shape(0, 512, 64)
    prompts = [builder.build(at(text + line[:end] + "¦\n\n" + text), [], shape) for end in range(1, len(line) + 1)]

    fresh = [len(new.tokens) - shared(new.tokens, old.tokens) for old, new in itertools.pairwise(prompts)]

    assert max(fresh) == 2  # the new byte, and the marker


@pytest.mark.parametrize("layout", ["psm", "spm"])
def test_a_boundary_lies_before_the_cursors_line(layout: str) -> None:
    """One token before it, because a line end may merge with an empty line that comes after it."""
    builder = PromptBuilder(ByteVocabulary(), "spm" if layout == "spm" else "psm", "repo")
    one = builder.build(HERE, BLOCKS, SHAPE)
    other = builder.build(at("def f(x):\n    y = 1¦ 1\n\nprint(f(2))\n"), BLOCKS, SHAPE)

    common = shared(one.tokens, other.tokens)
    best = max(b for b in one.boundaries if b <= common)

    line_start = ByteVocabulary().decode(one.tokens[: best + 1], special=True)
    assert line_start.endswith("def f(x):\n")
    assert one.boundaries[0] == len(builder._head(BLOCKS, "app.py"))


def test_context_that_does_not_fit_is_counted_off_from_the_end() -> None:
    """Blocks are whole; what comes first stays."""
    builder = PromptBuilder(ByteVocabulary(), "psm")

    assert builder.num_context_fitting(BLOCKS, 1000) == 2
    assert builder.num_context_fitting(BLOCKS, 20) == 1
    assert builder.num_context_fitting(BLOCKS, 5) == 0


def test_texts_are_tokenised_once() -> None:
    """A key pays for its line, not for the window."""

    class Counting(ByteVocabulary):
        num_bytes = 0

        def encode(self, pieces: object) -> IntArray:
            assert isinstance(pieces, list)
            Counting.num_bytes += sum(len(text) for text, special in pieces if not special)
            return super().encode(pieces)

    text = "".join(f"value_{n} = {n}\n" for n in range(200))
    builder = PromptBuilder(Counting(), "spm")
    builder.build(at(text + "x¦\n" + text), [], SHAPE)
    before = Counting.num_bytes
    builder.build(at(text + "xy¦\n" + text), [], SHAPE)

    assert Counting.num_bytes - before == 2


def test_a_long_line_keeps_its_end() -> None:
    """What stands right before the cursor matters most."""
    builder = PromptBuilder(ByteVocabulary(), "psm")
    prompt = builder.build(at("x = '" + "a" * 500 + "end¦'"), [], Shape(0, 100, 32))

    assert ByteVocabulary().decode(prompt.tokens).startswith("a" * 97 + "end")
