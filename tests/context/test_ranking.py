"""`rank` from end to end."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from qcn_agent.context.ranking import FILES_WITH_SYMBOLS, Ranking, rank
from qcn_agent.context.rerank import Skeleton
from qcn_agent.index.index import Index
from tests.context.conftest import FILES
from tests.fakes.indexed import IndexedTree, indexed

TRACE = (
    'Traceback (most recent call last):\n  File "/x/site-packages/net/cookies.py", line 6, in parse_cookie\nKeyError: 1'
)


def _paths(ranking: Ranking) -> list[str]:
    return [file.path for file in ranking.files]


def test_the_file_that_fits_is_first(index: Index) -> None:
    """With reasons that a person can check, and its best function first."""
    best = rank(index, "`Retry.increment` raises MaxRetryError too early").files[0]

    assert best.path == "net/util/retry.py"
    assert "defines Retry.increment" in best.reasons
    assert any(reason.startswith("words: ") for reason in best.reasons)
    assert best.symbols[0].qualified == "Retry.increment"
    assert best.symbols[0].reasons == ("the text names it",)
    assert (best.symbols[0].path, best.symbols[0].kind) == ("net/util/retry.py", "function")


def test_a_stack_trace_leads(index: Index) -> None:
    """To the file and the function of the frame."""
    best = rank(index, f"retry retry retry\n{TRACE}").files[0]

    assert (best.path, best.symbols[0].name) == ("net/cookies.py", "parse_cookie")


def test_tests_and_texts_come_later(index: Index) -> None:
    """Though they speak of the same; not when the issue names them."""
    paths = _paths(rank(index, "retry increment delay"))

    assert paths[0] == "net/util/retry.py"
    assert {"tests/test_retry.py", "docs/retry.md"} <= set(paths[1:])
    assert _paths(rank(index, "tests/test_retry.py: retry increment fails"))[0] == "tests/test_retry.py"


def test_scores_fall_and_the_limit_holds(index: Index) -> None:
    """Best first."""
    ranking = rank(index, "retry increment error pool cookie", limit=3)
    scores = [file.score for file in ranking.files]

    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("text", ["", "   ", "\x00\udcff", "zebra quagga"])
def test_a_text_without_a_known_word_ranks_nothing(index: Index, text: str) -> None:
    """No error either."""
    assert rank(index, text).files == ()


def test_an_empty_workspace_ranks_nothing(tmp_path: Path) -> None:
    """An index without files is no error."""
    index = Index.open(tmp_path, folder=tmp_path / "db", watch=False)

    assert rank(index, "retry").files == ()
    index.close()


def _described(index: Index, text: str) -> list[tuple[object, ...]]:
    files = rank(index, text).files
    return [(f.path, f.score, f.reasons, [(s.qualified, s.score) for s in f.symbols]) for f in files]


def test_two_builds_rank_alike(tmp_path: Path, tree: IndexedTree) -> None:
    """File ids differ between them, and nothing else does."""
    with indexed(tmp_path / "w") as other:
        for name in sorted(FILES, reverse=True):
            other.write(name, FILES[name])
        one, two = tree.index(), other.index()
        assert {f.path: f.file_id for f in one.files()} != {f.path: f.file_id for f in two.files()}

        for text in ("retry increment error pool cookie", TRACE, "`Retry.delay` in net.util and `Pool`"):
            assert _described(one, text) == _described(two, text)
        one.close()
        two.close()


def test_equal_files_are_ordered_by_path(tmp_path: Path) -> None:
    """Copies of one file."""
    with indexed(tmp_path / "w", {f"{name}/same.py": "def token(): pass\n" for name in "dbca"}) as tree:
        index = tree.index()

        assert _paths(rank(index, "token is broken")) == ["a/same.py", "b/same.py", "c/same.py", "d/same.py"]
        index.close()


def test_symbols_of_all_files_are_ordered_together(index: Index) -> None:
    """The best file's best comes first; all are there, each once."""
    ranking = rank(index, "`Retry.increment` raises MaxRetryError too early, in a pool")
    names = [symbol.qualified for symbol in ranking.symbols]

    assert names[0] == "Retry.increment"
    assert sorted(ranking.symbols, key=repr) == sorted((s for f in ranking.files for s in f.symbols), key=repr)


def test_without_files_there_are_no_symbols(index: Index) -> None:
    """No division by nothing."""
    assert rank(index, "").symbols == ()


def test_a_file_that_only_the_hop_leads_to_is_ranked(tmp_path: Path) -> None:
    """Last, with what leads to it as the reason."""
    files = {"a.py": "from b import helper\n\n\ndef token():\n    return helper()\n", "b.py": "def helper(): pass\n"}
    with indexed(tmp_path / "w", files) as tree:
        index = tree.index()
        best, last = rank(index, "token is broken").files
        index.close()

    assert (best.path, last.path) == ("a.py", "b.py")
    assert last.reasons == ("is imported by a.py", "token uses helper")


def test_only_the_best_files_have_symbols(tmp_path: Path) -> None:
    """The others are ranked without."""
    files = {f"f{number}.py": "def token(): pass\n" for number in range(FILES_WITH_SYMBOLS + 5)}
    with indexed(tmp_path / "w", files) as tree:
        index = tree.index()
        ranked = rank(index, "token is broken").files
        index.close()

    assert [bool(file.symbols) for file in ranked] == [True] * FILES_WITH_SYMBOLS + [False] * 5


class _Upside:
    """A scripted reranker: names the last file first, and one that isn't there."""

    def __init__(self) -> None:
        self.seen: list[Skeleton] = []

    def order(self, issue: str, skeletons: Sequence[Skeleton]) -> Sequence[str]:
        self.seen = list(skeletons)
        return [skeletons[-1].path, "no/such/file.py"]


def test_a_reranker_decides_on_the_order(index: Index) -> None:
    """It sees paths and skeletons; what it leaves out keeps its order."""
    before, upside = _paths(rank(index, "retry increment delay")), _Upside()

    after = _paths(rank(index, "retry increment delay", reranker=upside))

    assert after == [before[-1], *before[:-1]]
    skeleton = next(one for one in upside.seen if one.path == "net/util/retry.py")
    assert "def delay(self):  # Seconds to sleep between tries." in skeleton.lines
