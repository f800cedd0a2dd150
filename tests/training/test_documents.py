"""Training documents: the product's words, and where the loss lies."""

import random

import pytest

import qcn_prompts
from qcn_agent.training import documents, repairs
from qcn_agent.training.documents import WEIGHTS, Document, Part
from qcn_agent.training.repairs import RepairTask
from qcn_prompts import chatml
from qcn_tools.report import TestFailure, TestReport

BAD = "def clamp(value, low, high):\n    return max(low, value)\n"
FAILURE = TestFailure("tests/test_calc.py::test_clamp", "assert 5 == 3\n+  where 5 = clamp(5, 0, 3)")
TASK = RepairTask(
    path="calc.py",
    name="clamp",
    bad=BAD,
    old="    return max(low, value)",
    new="    return max(low, min(value, high))",
    issue="clamp ignores its upper bound",
    files=("calc.py", "tests/test_calc.py"),
    before=TestReport(repairs.COMMAND, 1, num_passed=2, num_failed=1, failures=(FAILURE,)),
    after=TestReport(repairs.COMMAND, 0, num_passed=3),
)


@pytest.fixture
def no_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every first edit applies."""
    monkeypatch.setattr(documents, "MISS_SHARE", 0.0)


@pytest.fixture
def only_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every conversation has an edit that does not apply, where there is one."""
    monkeypatch.setattr(documents, "MISS_SHARE", 1.0)


def text_of(document: Document) -> str:
    """The document as running text."""
    return "".join(part.text for part in document)


def weighted_text(document: Document, weight: float) -> list[str]:
    """The spans of one weight, in order."""
    found = []
    for part in document:
        position = 0
        for num_chars, span_weight in part.spans:
            if span_weight == weight:
                found.append(part.text[position : position + num_chars])
            position += num_chars
    return found


def test_a_repair_is_the_conversation_the_product_has(no_misses: None, rng: random.Random) -> None:
    """Piece by piece, the document is what the agent's own renderer gives for the same events."""
    profile = qcn_prompts.load("mini")
    report = profile.observe("test_report", {"report": TASK.before})
    opening = profile.opening(issue=TASK.issue, files=TASK.files, num_files=2, tests=report)
    edit = {"path": TASK.path, "old_string": TASK.old, "new_string": TASK.new}
    expected = [
        *chatml.turn("system", documents.system_text()),
        *chatml.turn("user", opening),
        *chatml.assistant(chatml.tool_call("read_file", {"path": TASK.path})),
        *chatml.tool_responses([profile.observe("file", {"text": BAD})]),
        *chatml.assistant(chatml.tool_call("edit_file", edit)),
        *chatml.tool_responses([profile.observe("edited", {"path": TASK.path})]),
        *chatml.assistant(chatml.tool_call("run_tests", {})),
        *chatml.tool_responses([profile.observe("test_report", {"report": TASK.after})]),
        *chatml.assistant("Fixed `clamp` in calc.py. The tests pass."),
        ("<|endoftext|>", True),
    ]
    assert [(part.text, part.special) for part in documents.repair(TASK, rng)] == expected


def test_the_system_prompt_lists_the_product_s_tools() -> None:
    """The three tools of the profile, with the arguments they require."""
    assert "Tools: read_file(path), edit_file(path, old_string, new_string), run_tests()." in documents.system_text()


def test_the_edit_weighs_most(no_misses: None, rng: random.Random) -> None:
    """Exactly old_string and new_string have the edit's weight."""
    assert weighted_text(documents.repair(TASK, rng), WEIGHTS.edit) == [TASK.old, TASK.new]


def test_wrong_lines_are_never_learned(no_misses: None, rng: random.Random) -> None:
    """The correct part of the shown file is learned, the buggy line is not."""
    learned = weighted_text(documents.repair(TASK, rng), WEIGHTS.file)
    assert learned == ["def clamp(value, low, high):\n"]


def test_only_the_assistant_is_learned(no_misses: None, rng: random.Random) -> None:
    """Issue, file list, reports and observations carry no weight."""
    document = documents.repair(TASK, rng)
    learned = "".join(weighted_text(document, WEIGHTS.call) + weighted_text(document, WEIGHTS.edit))
    assert "read_file" in learned and "run_tests" in learned
    assert "upper bound" not in learned and "FAILED" not in learned and "Edited" not in learned


def test_ends_of_the_assistant_s_turns_are_learned(no_misses: None, rng: random.Random) -> None:
    """Four turns of the assistant end with a learned token; the other turns do not."""
    ends = [part for part in documents.repair(TASK, rng) if part.text == "<|im_end|>"]
    assert [bool(part.spans) for part in ends] == [False, False, True, False, True, False, True, False, True]


def test_a_missed_edit_is_seen_but_not_learned(only_misses: None) -> None:
    """The wrong call and the tool's real answer come before the right one, without weight."""
    document = documents.repair(TASK, random.Random(1))
    text = text_of(document)
    assert "Error: old_string not found in calc.py" in text
    assert text.count("<function=edit_file>") == 2
    assert weighted_text(document, WEIGHTS.edit) == [TASK.old, TASK.new]


def test_misquotes_do_not_occur_in_the_file() -> None:
    """Whatever slip is drawn, the tool does not find the text, or the document has no missed edit."""
    rng = random.Random(2)
    for _ in range(50):
        missed = documents._missed_edit(TASK, rng)
        assert not missed or "not found" in text_of(missed)


def test_marks_are_found_in_order() -> None:
    """A mark that occurs earlier too is taken after the mark before it."""
    part = documents.weighted("a b a c", 0.1, [("b", 1.0), ("a", 2.0)])
    assert part.spans == ((2, 0.1), (1, 1.0), (1, 0.1), (1, 2.0), (2, 0.1))


def test_a_mark_that_is_not_there_is_an_error() -> None:
    """Silently losing a weight would ruin a run."""
    with pytest.raises(ValueError, match="substring not found"):
        documents.weighted("abc", 0.0, [("x", 1.0)])


def test_a_hole_is_cut_out_of_the_text(rng: random.Random) -> None:
    """Prefix, middle and suffix are the text again, whatever hole is drawn."""
    text = "def f(a):\n    b = a + 1\n    return b\n\n\ndef g():\n    return 2\n"
    for _ in range(200):
        document = documents.middle_filled(rng, text)
        prefix, suffix, middle = (document[index].text for index in (1, 3, 5))
        assert prefix + middle + suffix in (text, prefix + middle)
        assert middle
        assert [part.text for part in document[::2]][:3] == ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]


def test_holes_lie_after_the_start(rng: random.Random) -> None:
    """What stands before the offset is never asked for."""
    text = "import os\n\n\ndef f(a):\n    return a\n"
    assert all(documents.middle_filled(rng, text, 11)[1].text.startswith("import os\n") for _ in range(50))


def test_the_middle_and_its_end_are_learned(rng: random.Random) -> None:
    """The suffix has no weight: it is given, not asked for."""
    document = documents.middle_filled(rng, "a = 1\nb = 2\nc = 3\n")
    assert document[5].spans == ((len(document[5].text), WEIGHTS.middle),)
    assert document[6] == documents.control("<|endoftext|>", WEIGHTS.end)
    assert document[3].spans == ()


def test_code_that_was_cut_has_no_end_to_learn() -> None:
    """A window of a file does not end where a file ends."""
    assert documents.code("a = 1\n", is_whole=False)[-1].spans[0][1] == 0.0
    assert documents.code("a = 1\n", is_whole=True)[-1].spans[0][1] == WEIGHTS.end


def test_chat_is_short_and_learned(rng: random.Random) -> None:
    """The answer is learned, the question is not."""
    document = documents.chat(rng)
    (answer,) = weighted_text(document, WEIGHTS.answer)
    assert answer.endswith(".")
    assert document[-1] == Part("<|endoftext|>", True, ((13, 0.0),))
