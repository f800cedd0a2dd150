"""The index follows the workspace, and equals a fresh one whatever way it took."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from qcn_agent.index.limits import MAX_BYTES
from qcn_agent.index.record import Depth
from tests.fakes.indexed import everything, fresh, indexed, write_tree

FILES = {
    "pkg/__init__.py": "",
    "pkg/core.py": '"""Core things."""\nfrom pkg.util import helper\n\n\ndef run(x):\n    return helper(x)\n',
    "pkg/util.py": "def helper(x):\n    return x + 1\n",
    "tests/test_core.py": "from pkg.core import run\n\n\ndef test_run():\n    assert run(1) == 2\n",
    "README.md": "How to run it\n",
    "main.go": 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hi") }\n',
}


def test_a_cold_build_reads_every_file(tmp_path: Path) -> None:
    """And a second look reads none."""
    with indexed(tmp_path / "w", FILES) as tree:
        again = tree.refresh()

        assert [file.path for file in tree.reader.files()] == sorted(FILES)
        assert (again.num_files, again.num_read, again.num_moved, again.num_removed) == (6, 0, 0, 0)


def test_a_touched_file_is_not_read_into_the_index_again(tmp_path: Path) -> None:
    """Its new time is remembered, so that the next look is cheap."""
    with indexed(tmp_path / "w", FILES) as tree:
        os.utime(tree.workspace / "main.go", (1, 1))

        touched, again = tree.refresh(), tree.refresh()

        assert (touched.num_read, again.num_read) == (0, 0)
        assert tree.store.stamps()["main.go"][1].mtime_ns == 1_000_000_000


def test_a_saved_file_replaces_what_it_said(tmp_path: Path) -> None:
    """Its definitions, its words and its number of files; its id stays."""
    with indexed(tmp_path / "w", FILES) as tree:
        before = tree.id_of("pkg/util.py")

        result = tree.write("pkg/util.py", "def assistant(y):\n    return y\n")

        assert result.num_read == 1
        assert tree.id_of("pkg/util.py") == before
        assert tree.reader.definitions_named("helper") == []
        assert [one.path for one in tree.reader.definitions_named("assistant")] == ["pkg/util.py"]
        assert tree.reader.candidates({"assistant": 1.0}, 10)[0][0] == before
        assert tree.reader.corpus_stats(["assistant"]).document_frequencies == {"assistant": 1}


def test_a_file_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    """By a scan or when it is looked at."""
    with indexed(tmp_path / "w", FILES) as tree:
        (tree.workspace / "main.go").unlink()
        (tree.workspace / "pkg" / "util.py").unlink()

        updated, refreshed = tree.builder.update(["main.go"]), tree.refresh()

        assert (updated.num_removed, refreshed.num_removed) == (1, 1)
        assert tree.reader.candidates({"println": 1.0}, 10) == []
        assert tree.reader.corpus_stats().num_files == 4


def test_a_renamed_file_moves_without_being_parsed(tmp_path: Path) -> None:
    """It keeps its id; the words of its path are the new ones."""
    with indexed(tmp_path / "w", FILES) as tree:
        before = tree.id_of("pkg/util.py")
        (tree.workspace / "pkg" / "util.py").rename(tree.workspace / "pkg" / "fancy_tools.py")

        result = tree.refresh()

        assert (result.num_moved, result.num_read, result.num_removed) == (1, 0, 0)
        assert tree.id_of("pkg/fancy_tools.py") == before
        assert tree.reader.candidates({"fancy": 1.0}, 10) != []
        assert everything(tree.database) == fresh(tree.workspace, tmp_path / "other")


def test_a_rename_that_changes_the_language_is_read_anew(tmp_path: Path) -> None:
    """The same bytes mean something else then."""
    with indexed(tmp_path / "w", FILES) as tree:
        (tree.workspace / "pkg" / "util.py").rename(tree.workspace / "util.txt")

        result = tree.refresh()

        assert (result.num_moved, result.num_read) == (0, 1)
        assert tree.reader.definitions_named("helper") == []


def test_a_branch_switch_is_followed(tmp_path: Path, git: Callable[..., str]) -> None:
    """There and back."""
    root = tmp_path / "w"
    write_tree(root, FILES)
    git(root, "init", "-q", "-b", "one")
    git(root, "add", ".")
    git(root, "commit", "-qm", "x")
    with indexed(root) as tree:
        first = everything(tree.database)
        git(root, "checkout", "-qb", "two")
        git(root, "mv", "pkg/core.py", "pkg/heart.py")
        write_tree(root, {"new.rs": "fn fresh() {}\n"})
        git(root, "add", ".")
        git(root, "commit", "-qm", "y")
        tree.refresh()
        assert [one.path for one in tree.reader.definitions_named("run")] == ["pkg/heart.py"]

        git(root, "checkout", "-q", "one")
        tree.refresh()

        assert everything(tree.database) == first


def test_unknown_paths_pass_the_ignore_rules(tmp_path: Path) -> None:
    """A watcher sees build output, too."""
    with indexed(tmp_path / "w", {**FILES, ".gitignore": "*.gen.py\n"}) as tree:
        tree.write("a.gen.py", "def generated(): pass\n")
        tree.write("b.py", "def written(): pass\n")

        assert tree.reader.file_at("a.gen.py") is None
        assert tree.reader.file_at("b.py") is not None


def test_new_ignore_rules_take_files_out(tmp_path: Path) -> None:
    """At the next scan."""
    with indexed(tmp_path / "w", FILES) as tree:
        write_tree(tree.workspace, {".qcnignore": "*.go\n"})
        tree.refresh()

        assert tree.reader.file_at("main.go") is None


def test_what_no_person_reads_is_known_by_its_path_only(tmp_path: Path) -> None:
    """Binary, minified, too large; what a program wrote is text without structure."""
    files: dict[str, str | bytes] = {
        "image.py": b"\x89PNG\0\0\0 def hidden(): pass",
        "app.min.js": "function hidden(){}" * 2000,
        "large.py": b"hidden = 1\n" * (MAX_BYTES // 10),
        "gen_pb2.py": "# Generated by a tool. DO NOT EDIT!\ndef generated(): return visible\n",
    }
    with indexed(tmp_path / "w", files) as tree:
        depths = {file.path: file.depth for file in tree.reader.files()}

        assert depths == {
            "image.py": Depth.PATH,
            "app.min.js": Depth.PATH,
            "large.py": Depth.PATH,
            "gen_pb2.py": Depth.TEXT,
        }
        assert tree.reader.candidates({"hidden": 1.0}, 10) == []
        assert len(tree.reader.candidates({"visible": 1.0}, 10)) == 1
        assert len(tree.reader.candidates({"image": 1.0}, 10)) == 1


def test_an_unreadable_file_is_known_by_its_path(tmp_path: Path) -> None:
    """And read when that is allowed."""
    write_tree(tmp_path / "w", {"a.py": "def secret(): pass\n"})
    (tmp_path / "w" / "a.py").chmod(0)
    with indexed(tmp_path / "w") as tree:
        if os.geteuid() != 0:
            assert tree.reader.definitions_named("secret") == []
        (tree.workspace / "a.py").chmod(0o644)
        os.utime(tree.workspace / "a.py", (5, 5))
        tree.refresh()

        assert len(tree.reader.definitions_named("secret")) == 1


def test_progress_counts_up_to_the_files_that_are_read(tmp_path: Path) -> None:
    """The last report is all of them."""
    reports: list[tuple[int, int]] = []
    with indexed(tmp_path / "w") as tree:
        write_tree(tree.workspace, {f"f{number}.py": f"x = {number}\n" for number in range(20)})
        tree.builder.refresh(lambda done, total: reports.append((done, total)))

    assert reports[-1] == (20, 20)


def test_random_changes_end_in_the_index_of_a_fresh_build(tmp_path: Path) -> None:
    """Whatever is created, edited, renamed, touched or deleted, by updates and by scans."""
    chance = random.Random(5)
    with indexed(tmp_path / "w", FILES) as tree:
        for step in range(40):
            names = sorted(
                str(path.relative_to(tree.workspace)) for path in tree.workspace.rglob("*") if path.is_file()
            )
            name, other = chance.choice(names), f"dir{chance.randrange(3)}/file_{step}.py"
            action = chance.choice(["create", "edit", "rename", "delete", "touch"])
            if action == "create":
                write_tree(
                    tree.workspace, {other: f"from pkg import util\ndef made_{step}(): return util.helper({step})\n"}
                )
            elif action == "edit":
                write_tree(tree.workspace, {name: (tree.workspace / name).read_bytes() + b"\nedited = 'again'\n"})
            elif action == "rename":
                (tree.workspace / other).parent.mkdir(exist_ok=True)
                (tree.workspace / name).rename(tree.workspace / other)
            elif action == "delete" and len(names) > 3:
                (tree.workspace / name).unlink()
            else:
                os.utime(tree.workspace / name, (step, step))
            if chance.random() < 0.5:
                tree.builder.update([name, other])
            elif chance.random() < 0.5:
                tree.refresh()
        tree.refresh()

        assert everything(tree.database) == fresh(tree.workspace, tmp_path / "other")
