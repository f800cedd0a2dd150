"""Whose a file is, and what of it is deleted when a project is forgotten."""

import os
from pathlib import Path

import pytest

from qcn_agent.engine.ownership import forget_files, owned_name, owners_of


@pytest.mark.parametrize("owners", [{"a1"}, {"a1", "b2"}, {""}, {"", "a1"}])
def test_a_name_says_its_owners(owners: set[str]) -> None:
    """In whatever order they came, and whoever they were before."""
    name = owned_name("hash-0-5", owners)
    assert owners_of(name) == owners
    assert owned_name(name, {"c3"}) == "hash-0-5.c3"


def test_without_a_tag_it_is_nobody_s() -> None:
    """As files of earlier versions are."""
    assert owned_name("hash-0-5", ()) == "hash-0-5"
    assert owners_of("hash-0-5") == {""}


def test_very_many_owners_are_anybody() -> None:
    """A name has at most 255 bytes."""
    assert owners_of(owned_name("hash-0-5", {f"tag{number}" for number in range(7)})) == {""}
    longest = owned_name(f"{'f' * 32}-{1 << 24}-{1 << 24}", {f"{number}" * 16 for number in range(6)})
    assert len(longest) < 200
    assert len(owners_of(longest)) == 6


def test_a_project_is_forgotten_without_harm_to_others(tmp_path: Path) -> None:
    """In the folders of all models: its files go, those that it shares are the others' then, half-written ones go."""
    for name in ("m1/x.a", "m1/y.a.b", "m2/z.a", "m2/n", "m2/o._.a", "m2/b.b", "m2/half.b.0123.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert forget_files(tmp_path, "a") == 3
    left = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    assert left == ["m1/y.b", "m2/b.b", "m2/n", "m2/o._"]
    assert forget_files(tmp_path, "b") == 2


def test_all_can_be_forgotten(tmp_path: Path) -> None:
    """Files, links and pipes; nothing outside the folder, and the folder of a cache that never was is no error."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"x")
    folder = tmp_path / "kv" / "model"
    folder.mkdir(parents=True)
    (folder / "x.a").write_bytes(b"x")
    (folder / "link").symlink_to(outside)
    assert forget_files(tmp_path / "kv") == 2
    assert (outside / "file").exists()
    assert list(folder.iterdir()) == []
    assert forget_files(tmp_path / "nowhere") == 0


def test_what_can_t_be_looked_into_is_not_called_forgotten(tmp_path: Path) -> None:
    """Not "0 files" where nobody could look."""
    (tmp_path / "kv").symlink_to("kv")
    with pytest.raises(OSError, match="kv"):
        forget_files(tmp_path / "kv")


@pytest.mark.skipif(os.getuid() == 0, reason="root can look into everything")
def test_a_closed_folder_is_not_called_forgotten(tmp_path: Path) -> None:
    """Its files are still there."""
    (tmp_path / "model").mkdir(mode=0)
    with pytest.raises(PermissionError):
        forget_files(tmp_path)
