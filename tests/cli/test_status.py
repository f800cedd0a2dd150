"""What `status` prints of who makes completions, and of the process that holds the model."""

from typing import Any

from qcn_agent.cli.status import _context_lines, _process_lines

OWN = {"model_name": "", "model_path": "/m/small.gguf", "n_ctx": 8192, "queue_length": 1, "num_requests": 1234}


def _lines(**model: Any) -> list[str]:
    return _context_lines({"completion_note": "", "contexts": [{}], **model})


def test_one_context_is_not_worth_a_line() -> None:
    """The usual case."""
    assert _lines() == []


def test_a_second_context_is_shown() -> None:
    """By its model, or its file where that has no name."""
    (line,) = _lines(contexts=[{}, OWN])
    assert line == "typing   /m/small.gguf, context 8,192 tokens, 1 waiting, 1,234 completions"


def test_why_there_is_none_is_shown() -> None:
    """The reason, as the log has it."""
    (line,) = _lines(completion_note="no room")
    assert line == "typing   completions share the agent's context: no room"


def test_a_process_of_its_own_is_shown() -> None:
    """By its number, and how often it was started again; the daemon's own is not worth a line."""
    child = {"isolation": "process", "engine_pid": 7, "num_restarts": 2, "fault": ""}
    assert _process_lines(child) == ["engine   process 7, restarted 2 times"]
    assert _process_lines({**child, "isolation": "off"}) == []


def test_an_engine_that_is_given_up_is_not_shown_as_alive() -> None:
    """The reason takes the place of a process that is gone."""
    reason, advice = _process_lines(
        {"isolation": "process", "engine_pid": 7, "num_restarts": 2, "fault": "it ended three times"}
    )
    assert "it ended three times" in reason
    assert "qcn-agent stop" in advice
