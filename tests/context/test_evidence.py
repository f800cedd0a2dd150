"""Pieces of evidence."""

from qcn_agent.context.evidence import Evidence


def test_a_repeated_piece_counts_once() -> None:
    """The strongest one with that reason."""
    evidence = Evidence()
    for value in (0.2, 0.8, 0.5):
        evidence.add(1, value, "same")
    evidence.add(1, 0.2, "other")

    assert evidence.strongest(1) == 0.8
    assert evidence.total(1) == 0.5
    assert evidence.reasons(1) == ["same", "other"]


def test_a_file_without_evidence_has_none() -> None:
    """Zeros, no reasons."""
    evidence = Evidence()

    assert (evidence.strongest(1), evidence.total(1), evidence.reasons(1)) == (0.0, 0.0, [])
    assert list(evidence.file_ids()) == []


def test_equal_pieces_are_ordered_by_reason() -> None:
    """Whatever order they came in, and only so many."""
    evidence = Evidence()
    for reason in "dbca":
        evidence.add(1, 1.0, reason)

    assert evidence.reasons(1, 3) == ["a", "b", "c"]
