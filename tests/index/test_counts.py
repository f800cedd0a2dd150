"""Word counts as a blob."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.index import counts
from qcn_agent.index.words import FIELDS

TABLES = st.dictionaries(
    st.tuples(st.integers(1, 5_000_000), st.integers(0, len(FIELDS) - 1)), st.integers(1, 255), max_size=60
)


def arrays(table: dict[tuple[int, int], int]) -> tuple[counts.Keys, counts.Counts]:
    """Keys and counts in the table's own order."""
    keys = np.array([8 * term + field for term, field in table], np.uint32)
    return keys, np.array(list(table.values()), np.uint8)


@given(TABLES)
def test_a_blob_gives_back_what_went_in(table: dict[tuple[int, int], int]) -> None:
    """Sorted by key."""
    keys, numbers = counts.decode(counts.encode(*arrays(table)))

    assert dict(zip(keys.tolist(), numbers.tolist(), strict=True)) == {8 * t + f: n for (t, f), n in table.items()}
    assert keys.tolist() == sorted(keys.tolist())


@given(st.lists(TABLES, max_size=4), st.lists(st.integers(-1, 5_000_000), max_size=10))
def test_looking_up_terms_equals_the_tables(tables: list[dict[tuple[int, int], int]], others: list[int]) -> None:
    """Known terms have their counts by file and field, unknown ones and files without a blob zeros."""
    terms = [*dict.fromkeys(term for table in tables for term, _field in table), *others]

    found = counts.CountTable([counts.NOTHING, *(counts.decode(counts.encode(*arrays(table))) for table in tables)])

    by_file = found.counts_of(np.array(terms, np.int64)).tolist()
    assert by_file == [
        [[table.get((term, field), 0) for field in range(len(FIELDS))] for term in terms] for table in [{}, *tables]
    ]
    assert found.lengths().tolist() == [
        [sum(number for (_term, own), number in table.items() if own == field) for field in range(len(FIELDS))]
        for table in [{}, *tables]
    ]


def test_lengths_are_sums_by_field() -> None:
    """In words."""
    keys, numbers = arrays({(1, 0): 2, (9, 0): 3, (1, 4): 250, (2, 4): 250})

    assert counts.lengths(keys, numbers).tolist() == [5, 0, 0, 0, 500]
