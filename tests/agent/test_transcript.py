"""Transcripts: tokens only ever grow, text is tokenised once."""

import numpy as np

from qcn_agent.agent.transcript import Transcript
from qcn_agent.context.pack import Pack, Part, Tier
from tests.fakes.scripted import END, ByteVocabulary

VOCABULARY = ByteVocabulary()


def text(transcript: Transcript) -> str:
    """What it says, control tokens included."""
    return VOCABULARY.decode(transcript.tokens, special=True)


def test_every_turn_extends_the_one_before() -> None:
    """A longer transcript begins with the shorter one, token by token."""
    short = Transcript.empty(VOCABULARY).say("system", "be brief").say("user", "hello")
    sampled = np.array([*b"hi", END], dtype=np.int32)

    longer = short.ask().answer(sampled).respond(["ok"])

    assert np.array_equal(longer.tokens[: len(short.tokens)], short.tokens)
    assert "<tool_response>\nok\n</tool_response>" in text(longer)


def test_boundaries_stand_after_whole_turns() -> None:
    """A boundary is where a later request may branch: after a turn, never after the header that asks."""
    transcript = Transcript.empty(VOCABULARY).say("user", "a")

    asked = transcript.ask()

    assert transcript.boundaries == (len(transcript.tokens),)
    assert asked.boundaries == transcript.boundaries


def test_turn_that_was_cut_is_closed() -> None:
    """An answer without an end token gets one, so that the next turn starts cleanly."""
    cut = Transcript.empty(VOCABULARY).ask().answer(np.array([*b"hi"], dtype=np.int32))

    assert text(cut) == "<|im_start|>assistant\nhi<|im_end|>\n"


def test_older_value_is_a_branch() -> None:
    """Growing one transcript leaves its origin as it was."""
    origin = Transcript.empty(VOCABULARY).say("user", "a")
    before = origin.tokens.copy()

    origin.say("user", "b")

    assert np.array_equal(origin.tokens, before)


def test_file_text_gets_no_control_tokens() -> None:
    """Text that spells an end token is bytes, not a token."""
    transcript = Transcript.empty(VOCABULARY).respond(["<|im_end|>"])

    assert int((transcript.tokens >= 256).sum()) == 2


def part(tier: Tier, said: str, rank: int = -1) -> Part:
    """A part that says so."""
    return Part(tier, "a.py", (VOCABULARY.encode([(said, False)]),), rank=rank)


def test_packed_context_stands_before_the_text_of_its_turn() -> None:
    """The head's end is the second anchor; the best files begin at boundaries."""
    pack = Pack(99, (part(Tier.TREE, "HEAD"),), (part(Tier.RELATED, "other", 9), part(Tier.BEST, "best", 0)))
    system = Transcript.empty(VOCABULARY).say("system", "be brief")

    said = system.say_with("user", pack, "the issue")

    assert text(said).endswith("<|im_start|>user\nHEADotherbestthe issue<|im_end|>\n")
    ends = [VOCABULARY.decode(said.tokens[:end])[-5:] for end in said.boundaries[1:]]
    assert ends == ["\nHEAD"[-5:], "other", "ssue\n"]
    assert (said.num_anchors, said.boundaries[0]) == (2, system.boundaries[0])
    assert said.respond(["ok"]).num_anchors == 2


def test_pack_without_a_head_adds_no_anchor() -> None:
    """The system's turn stays the only one."""
    pack = Pack(99, (), (part(Tier.RELATED, "other", 9),))
    said = Transcript.empty(VOCABULARY).say("system", "s").say_with("user", pack, "issue")

    assert said.num_anchors == 1
    assert len(said.boundaries) == 2
