"""The pipeline from what the model said to what is shown: golden cases, and laws that hold for any text."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcn_agent.completion import filters
from qcn_agent.completion.decision import decide
from qcn_agent.completion.place import Place
from qcn_agent.completion.values import Kind, Trigger
from tests.fakes.cursor import at

FILES = sorted((Path(__file__).parent / "cases").glob("*.toml"))
CASES = [case for path in FILES for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]]
MIN_LOGPROB = -0.9


def place_of(case: dict[str, Any]) -> Place:
    """Where a case stands; its kind is decided unless it says which."""
    snapshot = at(case["at"], case.get("path", "a.py"), "by path")
    decided = decide(snapshot, Trigger.AUTOMATIC)
    kind = Kind(case["kind"]) if "kind" in case else decided
    return Place(snapshot, kind, case.get("logprob"), MIN_LOGPROB)


def test_there_are_a_hundred_and_fifty_cases_with_names_of_their_own() -> None:
    """Each says one thing."""
    assert len(CASES) >= 150
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden_case(case: dict[str, Any]) -> None:
    """What is said there is shown as the case says; where nothing is, a filter says that it was it."""
    shown, dropped_by = filters.run(case["said"], place_of(case))

    assert shown == case["shown"]
    assert bool(dropped_by) is not bool(shown)


def test_every_filter_has_a_case_that_it_alone_decides() -> None:
    """Without it, some golden case comes out differently."""
    idle = []
    for name, _ in filters.PIPELINE:
        without = [step for step in filters.PIPELINE if step[0] != name]
        if all(_run(without, case) == case["shown"] for case in CASES):
            idle.append(name)

    assert idle == []


def _run(steps: list[tuple[str, filters.Filter]], case: dict[str, Any]) -> str:
    text, place = case["said"], place_of(case)
    for _, step in steps:
        text = step(text, place) if text.strip() else ""
    return str(text)


@settings(max_examples=200)
@given(
    st.text(alphabet="ab ()[]{}\n\t'\":=.,", max_size=80),
    st.text(alphabet="ab ()[]{}\n\t'\":=.,", max_size=60),
    st.text(alphabet="ab ()[]{}\n:", max_size=40),
    st.sampled_from([Kind.LINE, Kind.BLOCK]),
)
def test_what_is_shown_is_no_more_than_what_was_said(said: str, before: str, after: str, kind: Kind) -> None:
    """Blanks aside it is a piece of it; and showing is stable: the filters leave alone what they gave."""
    place = Place(at(f"{before}¦{after}"), kind)
    shown, dropped_by = filters.run(said, place)

    assert "".join(shown.split()) in "".join(said.split())
    assert shown == shown.rstrip()
    assert (shown == "") is (dropped_by != "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("return fo", "return"), ("return", ""), ("foo(", "foo("), ("foo(a, b", "foo(a,"), ("x = 1", "x ="), ("größ", "")],
)
def test_an_unfinished_text_never_ends_in_half_a_name(text: str, expected: str) -> None:
    """Letters at the end may be half of it."""
    assert filters.whole_words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = ", "a = 1"),
        ("a = 1\nb = 2\nc", "a = 1\nb = 2"),
        ("\n    retu", ""),
        ("\n    x = 1\n  y", "\n    x = 1"),
        ("foo(ba", "foo("),
    ],
)
def test_an_unfinished_text_keeps_its_whole_lines(text: str, expected: str) -> None:
    """Without one, its whole words."""
    assert filters.whole_lines(text).rstrip() == expected


@given(st.text(alphabet="ab_1 (.\n", max_size=60), st.integers(0, 60))
def test_no_cut_splits_a_name(text: str, length: int) -> None:
    """Wherever the model was interrupted."""
    cut = filters.whole_lines(text[:length])
    following = text[len(cut) :][:1]

    assert not (cut and (cut[-1].isalnum() or cut[-1] == "_") and (following.isalnum() or following == "_"))
