"""A batch says exactly what is to be decoded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.engine.backend import Run
from qcn_agent.engine.llama_batch import Batch
from qcn_agent.errors import EngineError

TOKENS = st.lists(st.integers(0, 8000), min_size=1, max_size=4).map(lambda tokens: np.array(tokens, np.int32))
ANY = st.tuples(st.integers(0, 200), TOKENS, st.integers(0, 10_000))
RUN = ANY.flatmap(lambda run: st.builds(Run, *map(st.just, run), st.integers(0, len(run[1]))))


@given(st.lists(st.lists(RUN, min_size=1, max_size=4), min_size=1, max_size=5))
def test_each_fill_stands_alone(calls: list[list[Run]]) -> None:
    """After any earlier calls the struct holds each run's tokens, positions and id, and whose logits are wanted."""
    batch = Batch(16, 201, 16)
    for runs in calls:
        struct = batch.fill(runs)
        assert struct.n_tokens == sum(len(run.tokens) for run in runs)
        begin = 0
        for run in runs:
            count, end = len(run.tokens), begin + len(run.tokens)
            assert struct.token[begin:end] == run.tokens.tolist()
            assert struct.pos[begin:end] == list(range(run.position, run.position + count))
            assert struct.n_seq_id[begin:end] == [1] * count
            assert [struct.seq_id[index][0] for index in range(begin, end)] == [run.seq_id] * count
            assert struct.logits[begin:end] == [0] * (count - run.num_logits) + [1] * run.num_logits
            begin = end


@pytest.mark.parametrize("counts", [[0], [17], [8, 9], [3, 0], []])
def test_an_impossible_size_is_refused(counts: list[int]) -> None:
    """Empty runs and overlong calls would be assertions in llama.cpp."""
    with pytest.raises(EngineError, match=r"1 \.\. 16|without tokens"):
        Batch(16, 4, 16).fill([Run(index, np.zeros(count, np.int32), 0, True) for index, count in enumerate(counts)])


def test_more_logits_than_there_is_room_for_are_refused() -> None:
    """They would be an assertion, too; the batch is usable afterwards."""
    batch = Batch(16, 4, 3)
    run = Run(0, np.zeros(6, np.int32), 0, 4)
    with pytest.raises(EngineError, match="logits of 4 tokens; 3"):
        batch.fill([run])
    assert batch.fill([run._replace(num_logits=3)]).logits[:6] == [0, 0, 0, 1, 1, 1]
