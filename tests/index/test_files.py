"""Which files a workspace has."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qcn_agent.index.files import is_left_out, list_files, wanted
from tests.fakes.indexed import write_tree

FILES = {
    "a.py": "x",
    "src/b.py": "y",
    "src/skip.log": "z",
    "build/out.o": "o",
    "deep/.gitignore": "*.tmp\n!keep.tmp\n",
    "deep/x.tmp": "",
    "deep/keep.tmp": "",
    "deep/more/y.tmp": "",
    ".gitignore": "*.log\nbuild/\n",
}
KEPT = [".gitignore", "a.py", "deep/.gitignore", "deep/keep.tmp", "src/b.py"]


def test_git_and_the_walk_agree_on_ignore_rules(tmp_path: Path, git: Callable[..., str]) -> None:
    """Nested rules, negations and folders mean the same with a repository and without."""
    write_tree(tmp_path / "tree", FILES)
    walked = list(list_files(tmp_path / "tree"))

    git(tmp_path / "tree", "init", "-q")

    assert walked == KEPT
    assert list(list_files(tmp_path / "tree")) == KEPT


@pytest.mark.parametrize("is_repository", [False, True])
def test_qcnignore_leaves_files_out(tmp_path: Path, git: Callable[..., str], is_repository: bool) -> None:
    """Tracked or not; the file itself stays."""
    write_tree(
        tmp_path / "tree", {"a.py": "", "data/big.csv": "", "data/small.py": "", ".qcnignore": "data/*\n!*.py\n"}
    )
    if is_repository:
        git(tmp_path / "tree", "init", "-q")
        git(tmp_path / "tree", "add", "-f", ".")

    assert list(list_files(tmp_path / "tree")) == [".qcnignore", "a.py", "data/small.py"]


def test_a_walk_leaves_installed_packages_out(tmp_path: Path) -> None:
    """Where nothing is ignored by rule."""
    write_tree(tmp_path, {"a.js": "", "node_modules/x/i.js": "", ".venv/lib/p.py": "", "__pycache__/a.pyc": ""})

    assert list(list_files(tmp_path)) == ["a.js"]


def test_links_are_not_followed(tmp_path: Path, git: Callable[..., str]) -> None:
    """Not out of the workspace, not in circles; with git and without."""
    root = tmp_path / "tree"
    write_tree(tmp_path, {"secret.py": "s", "tree/a.py": "", "tree/sub/b.py": ""})
    (root / "out.py").symlink_to(tmp_path / "secret.py")
    (root / "sub" / "loop").symlink_to(root)
    (root / "slash").symlink_to("/")

    assert list(list_files(root)) == ["a.py", "sub/b.py"]
    git(root, "init", "-q")
    git(root, "add", ".")
    assert list(list_files(root)) == ["a.py", "sub/b.py"]


def test_names_that_are_no_utf8_are_kept(tmp_path: Path, git: Callable[..., str]) -> None:
    """As the file system has them."""
    name = os.fsdecode(b"na\xefve \xff.py")
    write_tree(tmp_path, {name: "x", "line\nbreak.py": "", "tab\t'quote\".py": ""})
    walked = list_files(tmp_path)

    git(tmp_path, "init", "-q")

    assert name in walked
    assert "line\nbreak.py" in walked
    assert list_files(tmp_path) == walked


def test_submodules_and_nested_repositories_belong_to_the_workspace(tmp_path: Path, git: Callable[..., str]) -> None:
    """Each under its own ignore rules."""
    write_tree(tmp_path / "lib", {"l.py": "", "l.log": "", ".gitignore": "*.log\n"})
    git(tmp_path / "lib", "init", "-q")
    git(tmp_path / "lib", "add", ".")
    git(tmp_path / "lib", "commit", "-qm", "x")
    main = tmp_path / "main"
    write_tree(main, {"m.py": "", "nested/n.py": "", "nested/x.log": "", "m.log": ""})
    git(main, "init", "-q")
    git(main, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "lib"), "sub")
    git(main / "nested", "init", "-q")
    write_tree(main, {"sub/l.log": ""})

    assert list(list_files(main)) == [
        ".gitmodules",
        "m.log",
        "m.py",
        "nested/n.py",
        "nested/x.log",
        "sub/.gitignore",
        "sub/l.py",
    ]
    every = {str(path.relative_to(main)) for path in main.rglob("*") if path.is_file() and ".git/" not in str(path)}
    assert wanted(main, every) == set(list_files(main))
    assert [is_left_out(main, path) for path in ("sub/l.log", "sub/l.py", "sub/new.py", "nested/n.py")] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("is_repository", [False, True])
def test_what_a_link_leads_to_is_left_out(tmp_path: Path, git: Callable[..., str], is_repository: bool) -> None:
    """Also where it leads to a repository, and the link itself belongs to this one."""
    for name in ("main", "other/inner"):
        write_tree(tmp_path / name, {"a.py": ""})
        if is_repository:
            git(tmp_path / name, "init", "-q")
    (tmp_path / "main" / "link").symlink_to(tmp_path / "other" / "inner")
    (tmp_path / "main" / "far").symlink_to(tmp_path / "other")

    for asked in ("link/a.py", "far/inner/a.py", "../other/inner/a.py"):
        assert wanted(tmp_path / "main", ["a.py", asked]) == {"a.py"}
        assert is_left_out(tmp_path / "main", asked)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("new.py", False),
        ("sub/new.py", False),
        ("sub/.env", True),
        ("kept.log", False),
        ("other.log", True),
        ("link/new.py", True),
        ("../out.py", True),
        (".git/hooks/new", True),
    ],
)
def test_files_that_are_not_on_disk_yet(tmp_path: Path, git: Callable[..., str], path: str, expected: bool) -> None:
    """The rules of the repository that they would lie in count; what can't be found out is left out."""
    write_tree(tmp_path / "main", {"a.py": "", ".gitignore": "*.log\n!kept.log\n", "sub/.gitignore": ".env\n"})
    for folder in ("main", "main/sub"):
        git(tmp_path / folder, "init", "-q")
        git(tmp_path / folder, "add", ".")
    (tmp_path / "main" / "link").symlink_to(tmp_path)

    assert is_left_out(tmp_path / "main", path) is expected


def test_a_worktree_is_a_workspace(tmp_path: Path, git: Callable[..., str]) -> None:
    """Its `.git` is a file."""
    write_tree(tmp_path / "main", {"a.py": ""})
    git(tmp_path / "main", "init", "-q")
    git(tmp_path / "main", "add", ".")
    git(tmp_path / "main", "commit", "-qm", "x")
    git(tmp_path / "main", "worktree", "add", "-q", str(tmp_path / "other"))

    assert list(list_files(tmp_path / "other")) == ["a.py"]


def test_a_folder_of_a_repository_is_a_workspace(tmp_path: Path, git: Callable[..., str]) -> None:
    """Paths are relative to it, and rules from above hold."""
    write_tree(tmp_path, {".gitignore": "*.log\n", "sub/a.py": "", "sub/b.log": "", "c.py": ""})
    git(tmp_path, "init", "-q")

    assert list(list_files(tmp_path / "sub")) == ["a.py"]


def test_a_file_that_is_gone_is_not_listed(tmp_path: Path, git: Callable[..., str]) -> None:
    """Though git still knows it."""
    write_tree(tmp_path, {"a.py": "", "b.py": ""})
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    (tmp_path / "b.py").unlink()

    assert list(list_files(tmp_path)) == ["a.py"]


def test_pipes_and_sockets_are_no_files(tmp_path: Path) -> None:
    """Opening one could hang."""
    write_tree(tmp_path, {"a.py": ""})
    os.mkfifo(tmp_path / "pipe.py")

    assert list(list_files(tmp_path)) == ["a.py"]


def test_a_stamp_tells_size_time_and_inode(tmp_path: Path) -> None:
    """Of the file itself."""
    write_tree(tmp_path, {"a.py": "123"})
    status = (tmp_path / "a.py").stat()

    stamp = list_files(tmp_path)["a.py"]

    assert (stamp.size, stamp.mtime_ns, stamp.inode) == (3, status.st_mtime_ns, status.st_ino)


@pytest.mark.parametrize("is_repository", [False, True])
def test_single_paths_are_judged_like_the_whole(tmp_path: Path, git: Callable[..., str], is_repository: bool) -> None:
    """What the watcher sees passes the same rules."""
    write_tree(tmp_path, {**FILES, ".qcnignore": "src/\n", "we*ird[1].py": ""})
    if is_repository:
        git(tmp_path, "init", "-q")
    every = [
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file() and ".git/" not in str(path)
    ]

    assert wanted(tmp_path, every) == set(list_files(tmp_path))


def test_a_deep_tree_is_walked(tmp_path: Path) -> None:
    """As deep as the limit allows, and it ends."""
    folder = tmp_path
    for _ in range(200):
        folder = folder / "d"
    folder.mkdir(parents=True)
    write_tree(tmp_path, {"a.py": "", "d/d/d/b.py": ""})
    (folder / "c.py").write_text("")

    assert list(list_files(tmp_path)) == ["a.py", "d/d/d/b.py"]
