"""The reranker's answer applied."""

from qcn_agent.context.rerank import reordered


def test_named_paths_come_first() -> None:
    """In the answer's order; the others keep theirs."""
    assert reordered(["a", "b", "c", "d"], ["c", "a"]) == ["c", "a", "b", "d"]


def test_unknown_and_repeated_paths_are_passed_over() -> None:
    """A model may invent files."""
    assert reordered(["a", "b"], ["x", "b", "b"]) == ["b", "a"]
    assert reordered(["a", "b"], []) == ["a", "b"]
