"""Ranked files, read and valued."""

from pathlib import Path

import pytest

from qcn_agent.context.chunks import Chunk
from qcn_agent.context.pack import Tier
from qcn_agent.context.ranking import RankedFile, RankedSymbol
from qcn_agent.context.sources import MIN_FILES, Source, read_sources, values_of
from tests.fakes.packing import Workbench, functions, workbench


def sources(bench: Workbench, *paths: str, budget: int = 1000, changed: str = "") -> list[Source]:
    """The sources of files ranked in this order."""
    ranking = bench.ranking(*paths)
    return read_sources(bench.index, bench.tree.workspace, ranking, budget, lambda path, _: path == changed)


def ranked(*symbols: RankedSymbol) -> RankedFile:
    """A file with these symbols."""
    return RankedFile(1, "a.py", 1.0, (), symbols)


def symbol(first: int, last: int) -> RankedSymbol:
    """A symbol on these lines."""
    return RankedSymbol(1, "a.py", "f", "f", "function", first, last, 1.0, ())


CHUNKS = tuple(Chunk(first, first + 9, "x" * 100) for first in (1, 11, 21, 31))


def test_tiers_follow_the_rank_and_changes(tmp_path: Path) -> None:
    """The best three, the next seven, the others; what has changes apart."""
    names = [f"m{number:02}.py" for number in range(14)]
    with workbench(tmp_path / "w", {name: functions(1) for name in names}) as bench:
        found = sources(bench, *names, changed="m01.py")

    tiers = [source.tier for source in found]
    assert tiers == [Tier.BEST, Tier.CHANGED, Tier.BEST, *[Tier.LIKELY] * 7, *[Tier.RELATED] * 4]
    assert [source.rank for source in found] == list(range(14))


def test_files_that_nothing_points_at_come_last(tmp_path: Path) -> None:
    """So that a large budget is filled; what has no definitions is not among them."""
    code = functions(1)
    with workbench(tmp_path / "w", {"b.py": code, "a.py": code, "c.txt": "text\n"}) as bench:
        assert [source.path for source in sources(bench, "b.py")] == ["b.py", "a.py"]


def test_small_budget_does_not_read_everything(tmp_path: Path) -> None:
    """Only so many files beyond the first are worth a look."""
    names = [f"m{number:03}.py" for number in range(100)]
    with workbench(tmp_path / "w", {name: functions(4) for name in names}) as bench:
        few, all_of_them = sources(bench, *names, budget=10), sources(bench, *names, budget=10_000)

    assert [source.path for source in few] == names[:MIN_FILES]
    assert len(all_of_them) == len(names)


def test_what_can_not_be_read_is_passed_over(tmp_path: Path) -> None:
    """Gone, empty, binary, or reached through a link since it was indexed."""
    files: dict[str, str | bytes] = {"ok.py": "x = 1\n", "gone.py": "x\n", "empty.py": "", "bin.py": b"\0" * 50}
    with workbench(tmp_path / "w", {**files, "sub/in.py": "secret = 1\n"}) as bench:
        root = bench.tree.workspace
        (root / "gone.py").unlink()
        (root / "sub").rename(tmp_path / "outside")
        (root / "sub").symlink_to(tmp_path / "outside")
        found = sources(bench, *files, "sub/in.py")

    assert [source.path for source in found] == ["ok.py"]


def test_file_that_the_index_does_not_know_like_this_is_cut_by_lines(tmp_path: Path) -> None:
    """Its definitions stand elsewhere by now."""
    source = functions(30)
    with workbench(tmp_path / "w", {"a.py": source}) as bench:
        known = sources(bench, "a.py")[0].chunks
        (bench.tree.workspace / "a.py").write_text("# new\n" + source)
        stale = sources(bench, "a.py")[0].chunks

    assert len(known) == 30
    assert "".join(chunk.text for chunk in stale) == "# new\n" + source
    assert len(stale) < 10


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    """They are replaced."""
    with workbench(tmp_path / "w", {"a.py": b"x = '\xff\xfe'\n"}) as bench:
        assert sources(bench, "a.py")[0].chunks[0].text == "x = '\ufffd\ufffd'\n"


def test_better_files_and_symbols_are_worth_more() -> None:
    """A chunk with the best symbol is worth more than one with the second, which is worth more than one without."""
    best, second, none, _ = values_of(CHUNKS, ranked(symbol(1, 10), symbol(12, 18)), 0)

    assert best > second > none > 0
    assert values_of(CHUNKS, ranked(), 0) == pytest.approx([0.25 / 100] * 4)
    assert values_of(CHUNKS, ranked(), 3)[0] < values_of(CHUNKS, ranked(), 0)[0]


def test_symbol_of_several_chunks_is_spread_over_them() -> None:
    """By the lines that each has of it."""
    first, second, third, none = values_of(CHUNKS, ranked(symbol(1, 25)), 0)

    assert first == pytest.approx(second)
    assert first > third > none


def test_files_of_neighbouring_ranks_are_worth_the_same() -> None:
    """An edit that swaps two of them must not change what is packed; the first four count one by one."""
    worth = [values_of(CHUNKS, ranked(), rank)[0] for rank in range(64)]

    assert worth == sorted(worth, reverse=True)
    assert len(set(worth[:5])) == 5
    assert worth[40] == worth[47]
    assert len(set(worth)) < 20
