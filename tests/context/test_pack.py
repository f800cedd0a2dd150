"""What a pack says of itself."""

import json

import numpy as np

from qcn_agent.context.pack import Pack, Part, Tier


def part(tier: Tier, path: str, *sizes: int, rank: int = -1, lines: tuple[tuple[int, int], ...] = ()) -> Part:
    """A part with arrays of these sizes."""
    return Part(tier, path, tuple(np.full(size, size, np.int32) for size in sizes), lines, rank)


PACK = Pack(
    100,
    (part(Tier.FRAME, "", 2), part(Tier.TREE, "", 1, 7), part(Tier.FRAME, "", 2)),
    (
        part(Tier.FRAME, "", 1),
        part(Tier.RELATED, "r.py", 5, rank=12),
        part(Tier.BEST, "b.py", 6, rank=2),
        part(Tier.BEST, "c.py", 4, rank=1),
        part(Tier.CHANGED, "a.py", 3, 3, rank=0, lines=((1, 9), (20, 22))),
        part(Tier.MORE, "c.py", 2, rank=1),
    ),
)


def test_tokens_are_those_of_the_parts_in_order() -> None:
    """And counted by head and whole."""
    assert PACK.tokens.tolist()[:5] == [2, 2, 1, 7, 7]
    assert (PACK.num_head_tokens, PACK.num_tokens, len(PACK.tokens)) == (12, 36, 36)
    assert PACK.tokens.dtype == np.int32


def test_empty_pack_has_no_tokens() -> None:
    """And is still an array."""
    assert Pack(0, (), ()).tokens.shape == (0,)


def test_places_are_where_the_best_files_begin() -> None:
    """In the order of the tokens; what is shown at the end once more does not count."""
    assert PACK.places(3) == (18, 24, 28)
    assert PACK.places(1) == (28,)
    assert PACK.places(0) == ()


def test_json_says_it_without_tokens() -> None:
    """Sums and a row for each part."""
    told = json.loads(json.dumps(PACK.to_json()))

    assert (told["budget"], told["num_tokens"], told["num_head_tokens"], told["num_issue_tokens"]) == (100, 36, 12, 24)
    assert told["parts"][7] == {"tier": "changed", "path": "a.py", "lines": [[1, 9], [20, 22]], "num_tokens": 6}
