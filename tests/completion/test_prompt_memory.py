"""What the engine has probably read."""

import numpy as np

from qcn_agent.completion.prompt import FimPrompt
from qcn_agent.completion.prompt_memory import PromptMemory, shared


def prompt(text: str, *boundaries: int) -> FimPrompt:
    """A byte a token."""
    return FimPrompt(np.frombuffer(text.encode(), np.uint8).astype(np.int32), boundaries)


def test_nothing_is_cached_at_first() -> None:
    """And nothing after forgetting."""
    memory = PromptMemory()
    assert memory.num_cached(prompt("abc").tokens) == 0

    memory.add(prompt("abc"))
    memory.forget()
    assert memory.num_cached(prompt("abcd").tokens) == 0


def test_a_prompt_goes_on_from_the_last_snapshot_before_they_part() -> None:
    """Recurrent states are not divisible."""
    memory = PromptMemory()
    memory.add(prompt("abcdef", 2, 4))

    assert memory.num_cached(prompt("abcdXY").tokens) == 4
    assert memory.num_cached(prompt("abcXYZ").tokens) == 2
    assert memory.num_cached(prompt("abcdefgh").tokens) == 6


def test_where_two_prompts_parted_there_is_a_snapshot() -> None:
    """The engine takes one at a branch point."""
    memory = PromptMemory()
    memory.add(prompt("abcdef"))
    memory.add(prompt("abcXYZ"))

    assert memory.num_cached(prompt("abc123").tokens) == 3


def test_the_same_prompt_again_still_has_a_last_token() -> None:
    """A number of tokens below the prompt's own."""
    memory = PromptMemory()
    memory.add(prompt("abc"))

    assert memory.num_cached(prompt("abc").tokens) == 2


def test_what_was_read_of_a_prompt_counts() -> None:
    """To where it was read, and the boundaries up to there; nothing of nothing."""
    memory = PromptMemory()
    memory.add(prompt("abcdefgh", 2, 6).until(0))
    assert memory.num_cached(prompt("abcdefgh").tokens) == 0

    memory.add(prompt("abcdefgh", 2, 6).until(5))
    assert memory.num_cached(prompt("abcdefgh").tokens) == 5
    assert memory.num_cached(prompt("abcXefgh").tokens) == 2


def test_shared_counts_equal_tokens_at_the_start() -> None:
    """Also where one ends."""
    assert shared(prompt("abc").tokens, prompt("abd").tokens) == 2
    assert shared(prompt("ab").tokens, prompt("abc").tokens) == 2
