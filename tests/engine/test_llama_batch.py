"""A batch says exactly what is to be decoded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.engine.llama_batch import Batch
from qcn_agent.errors import EngineError

CALL = st.tuples(st.integers(0, 200), st.lists(st.integers(0, 8000), min_size=1, max_size=16), st.integers(0, 10_000))


@given(st.lists(st.tuples(CALL, st.booleans()), min_size=1, max_size=5))
def test_each_fill_stands_alone(calls: list[tuple[tuple[int, list[int], int], bool]]) -> None:
    """After any earlier calls the struct holds this call's tokens, positions and id, and its last token's wish."""
    batch = Batch(16)
    for (seq_id, tokens, position), want in calls:
        struct = batch.fill(seq_id, np.array(tokens, np.int32), position, want_logits=want)
        count = len(tokens)
        assert struct.n_tokens == count
        assert struct.token[:count] == tokens
        assert struct.pos[:count] == list(range(position, position + count))
        assert struct.n_seq_id[:count] == [1] * count
        assert [struct.seq_id[index][0] for index in range(count)] == [seq_id] * count
        assert struct.logits[:count] == [0] * (count - 1) + [int(want)]


@pytest.mark.parametrize("count", [0, 17])
def test_an_impossible_size_is_refused(count: int) -> None:
    """An empty or overlong call would be an assertion in llama.cpp."""
    with pytest.raises(EngineError, match=r"1 \.\. 16"):
        Batch(16).fill(0, np.zeros(count, np.int32), 0, want_logits=True)
