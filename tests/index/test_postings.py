"""Postings as columns."""

from qcn_agent.index.postings import Postings


def test_postings_are_columns() -> None:
    """File ids are whole numbers; there may be none."""
    found = Postings.of([(7, -0.5), (9, -2.0)])

    assert (found.file_ids.tolist(), found.scores.tolist()) == ([7, 9], [-0.5, -2.0])
    assert Postings.of([]).file_ids.tolist() == []
