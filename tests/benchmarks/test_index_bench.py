"""What `make bench-index` asks and judges."""

from pathlib import Path

import pytest

from tests.bench.index_bench import ISSUES, NUM_WORKERS, issues_of, of_any, of_large, of_rate
from tests.bench.index_step import Builds
from tests.fakes.indexed import indexed, write_tree

SOURCE = "".join(f'def name_{n}():\n    """Says {n}."""\n\n' for n in range(9))


def test_issues_are_made_up_from_the_workspace(tmp_path: Path) -> None:
    """Different ones, the same for each run."""
    with indexed(tmp_path / "w", {f"f{n}.py": SOURCE for n in range(3)}) as tree:
        index = tree.index()
        made = issues_of(index, 20)

        assert made[: len(ISSUES)] == list(ISSUES)
        assert len(made) == 20
        assert len(set(made)) > 15
        assert made == issues_of(index, 20)
        index.close()


@pytest.mark.parametrize(("factor", "is_met"), [(1.0, True), (1.01, False)])
def test_targets_are_those_of_the_issue(factor: float, is_met: bool) -> None:
    """Met at the limit, missed beyond it."""
    found = {"wall_s": 360.0, "warm_s": 2.0, "rss_mb": 1536.0, "query_p95_ms": 50.0, "save_p95_ms": 100.0}
    found |= {"database_bytes": 60.0}
    found = {name: value * factor for name, value in found.items()} | {"source_bytes": 100.0}
    rates = of_rate(60.0, 20_000 * NUM_WORKERS, 100.0 * factor)

    targets = [*of_large(found), *of_any("sympy", found, 50), *rates]

    assert [target.is_met for target in targets] == [is_met] * len(targets)


def test_builds_end_when_they_are_closed(tmp_path: Path) -> None:
    """Stopped ones, too; nothing is left of them."""
    write_tree(tmp_path / "w", {f"f{n}.py": SOURCE for n in range(50)})
    builds = Builds(tmp_path / "w", tmp_path / "index")
    builds.resume()
    builds.pause()

    builds.close()

    assert builds._index._keeper.pid is None
    assert not builds._thread.is_alive()
