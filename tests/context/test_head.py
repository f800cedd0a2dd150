"""The head: what no issue changes."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.context.head import MAX_TOKENS, head_budget, make_head
from qcn_agent.context.pack import Part, Tier
from tests.fakes.packing import Workbench, functions, workbench

FILES = {f"pkg/m{number}.py": functions(8, f"g{number}_") for number in range(12)} | {"README.md": "words\n"}


def head_of(bench: Workbench, budget: int, **kw: list[tuple[str, str]]) -> tuple[Part, ...]:
    """A head of this workspace."""
    return make_head(bench.index, bench.tokenizer, budget, **kw)


def said(bench: Workbench, parts: tuple[Part, ...]) -> str:
    """Its text."""
    return "".join(bench.vocabulary.decode(array) for part in parts for array in part.arrays)


@given(st.integers(0, 1 << 21))
def test_budget_is_a_power_of_two_and_at_most_an_eighth(budget: int) -> None:
    """Runs that differ a little in what they may read share their head."""
    share = head_budget(budget)

    assert share <= min(budget // 8, MAX_TOKENS)
    assert share & (share - 1) == 0
    assert share >= min(MAX_TOKENS, budget // 16 - 64) or not share


def test_head_holds_the_tree_and_signatures_and_never_too_many_tokens(tmp_path: Path) -> None:
    """For any budget; a larger one shows more."""
    with workbench(tmp_path / "w", FILES) as bench:
        sizes = [sum(part.num_tokens for part in head_of(bench, budget)) for budget in range(0, 6000, 97)]
        text = said(bench, head_of(bench, 6000))

    assert all(size <= budget for size, budget in zip(sizes, range(0, 6000, 97), strict=True))
    assert sizes == sorted(sizes)
    assert text.startswith("<repository>\n<tree>\n./: README.md pkg/\n")
    assert "pkg/m3.py\n  def g3_0(a, b)" in text
    assert text.endswith("</signatures>\n</repository>\n")


def test_larger_head_goes_on_where_a_smaller_one_ends(tmp_path: Path) -> None:
    """Signatures come in one order."""
    with workbench(tmp_path / "w", FILES) as bench:
        small, large = (said(bench, head_of(bench, budget)).partition("<signatures>\n")[2] for budget in (2000, 3000))

    assert large.startswith(small.removesuffix("</signatures>\n</repository>\n"))
    assert len(small) > 100


def test_edit_of_a_body_leaves_the_head_as_it_is(tmp_path: Path) -> None:
    """So its anchor stays good; a new function changes it."""
    with workbench(tmp_path / "w", FILES) as bench:
        before = said(bench, head_of(bench, 8000))
        bench.tree.write("pkg/m3.py", FILES["pkg/m3.py"].replace("x0 = 0", "x0 = 123456"))
        edited = said(bench, head_of(bench, 8000))
        bench.tree.write("pkg/m3.py", FILES["pkg/m3.py"] + "\n\ndef added():\n    pass\n")

        assert edited == before
        assert said(bench, head_of(bench, 8000)) != before


def test_instructions_come_first_if_they_fit(tmp_path: Path) -> None:
    """What does not fit is left out as a whole."""
    with workbench(tmp_path / "w", FILES) as bench:
        head = head_of(bench, 2000, instructions=[("AGENTS.md", "Use tabs.\n"), ("b/AGENTS.md", "x\n" * 2000)])
        text = said(bench, head)

    assert [part.tier for part in head][:3] == [Tier.FRAME, Tier.INSTRUCTIONS, Tier.TREE]
    assert '<instructions path="AGENTS.md">\nUse tabs.\n</instructions>\n' in text
    assert "b/AGENTS.md" not in text


def test_empty_workspace_has_no_head(tmp_path: Path) -> None:
    """Nor has one that was not indexed yet."""
    with workbench(tmp_path / "w", {}) as bench:
        assert head_of(bench, 4000) == ()
