"""Context from other places."""

from collections.abc import Sequence

from qcn_agent.completion.prompt import ContextBlock
from qcn_agent.completion.ring import ContextRing, ordered
from qcn_agent.completion.values import Snapshot
from tests.fakes.cursor import at

HERE = at("import os\n\ndef here(first, second):\n    return ¦\n")
OTHER = "class Parser:\n    def parse(self, tokens):\n        return list(tokens)\n"


async def test_nothing_changes_while_the_user_works() -> None:
    """An epoch begins 1.5 s after the last edit or visit."""
    ring = ContextRing()
    ring.note_visit("other.py", OTHER, 0, 10.0)

    assert not await ring.refresh(HERE, 11.0)
    assert (ring.context.epoch, ring.context.blocks) == (0, ())
    assert await ring.refresh(HERE, 11.6)
    assert ring.context.epoch == 1
    assert [block.path for block in ring.context.blocks] == ["other.py"]


async def test_the_same_context_is_no_new_epoch() -> None:
    """Or the cache would be lost for nothing."""
    ring = ContextRing()
    ring.note_visit("other.py", OTHER, 0, 0.0)
    assert await ring.refresh(HERE, 2.0)

    assert not await ring.refresh(HERE, 4.0)
    assert ring.context.epoch == 1


async def test_order_is_by_path_then_age() -> None:
    """However they came in."""
    ring = ContextRing()
    for number, path in enumerate(("z.py", "m.py", "a.py")):
        ring.note_visit(path, f"unique_name_{number} = other_{number}\n", 0, 0.0)
    ring.note_edit("k.py", "old\n", "new\n", 0, 0.0)
    await ring.refresh(HERE, 2.0)

    assert [block.path for block in ring.context.blocks] == ["a.py", "k.py", "m.py", "z.py"]
    assert ordered(tuple(reversed(ring.context.blocks))) == ring.context.blocks


async def test_what_is_like_the_cursors_place_is_left_out() -> None:
    """The model would repeat it."""
    ring = ContextRing()
    ring.note_visit("copy.py", HERE.before + HERE.after, 0, 0.0)

    assert not await ring.refresh(HERE, 2.0)


async def test_nothing_is_in_it_twice() -> None:
    """Nearly equal chunks count as one."""
    ring = ContextRing()
    ring.note_visit("one.py", OTHER, 0, 0.0)
    ring.note_visit("two.py", OTHER, 0, 0.0)
    await ring.refresh(HERE, 2.0)

    assert [block.path for block in ring.context.blocks] == ["one.py"]


async def test_what_the_index_finds_goes_in_and_own_chunks_stay_out_of_a_prompt() -> None:
    """The cursor's file is in the prompt already."""

    async def find(snapshot: Snapshot) -> Sequence[ContextBlock]:
        return [ContextBlock("app.py", "def far_away(): ...", 9), ContextBlock("lib.py", "def used(): ...", 3)]

    ring = ContextRing(find)
    await ring.refresh(HERE, 2.0)

    assert [block.path for block in ring.context.blocks] == ["app.py", "lib.py"]
    assert [block.path for block in ring.context.without("app.py")] == ["lib.py"]


async def test_who_types_meanwhile_gets_no_new_epoch() -> None:
    """The question takes a while, and the user went on."""

    async def find(snapshot: Snapshot) -> Sequence[ContextBlock]:
        ring.note_edit("app.py", "a\n", "b\n", 0, 2.1)
        return [ContextBlock("lib.py", "def used(): ...", 3)]

    ring = ContextRing(find)

    assert not await ring.refresh(HERE, 2.0)
    assert ring.context.epoch == 0


async def test_few_places_are_remembered() -> None:
    """The latest; a place visited again is one place."""
    ring = ContextRing()
    for number in range(8):
        ring.note_visit(f"f{number}.py", f"name_{number} = value_{number}\n", 0, 0.0)
    ring.note_visit("f5.py", "name_5 = value_5\n", 3, 0.0)
    await ring.refresh(HERE, 2.0)

    assert [block.path for block in ring.context.blocks] == ["f4.py", "f5.py", "f6.py", "f7.py"]
