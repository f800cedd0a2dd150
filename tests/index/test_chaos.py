"""A workspace and a machine that mean no good: no hang, no crash, and the right index afterwards.

QCN_CHAOS=long makes them as long and as large as issue trackers fear; without it they take seconds.
"""

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qcn_agent.index.index import Index
from qcn_agent.index.record import Depth
from tests.fakes.indexed import IndexedTree, everything, fresh, write_tree

IS_LONG = os.environ.get("QCN_CHAOS") == "long"
NUM_CHANGES = 3000 if IS_LONG else 120
NUM_KILLS = 20 if IS_LONG else 2
NUM_FILES = 2000 if IS_LONG else 150
NUM_CROWDED = 100_000 if IS_LONG else 2000

# A process that creates, edits, renames and deletes files of the folder that it is given, with a seed, so many times.
VANDAL = """
import os, random, sys
root, chance = sys.argv[1], random.Random(int(sys.argv[2]))
for step in range(int(sys.argv[3])):
    names = sorted(os.path.join(folder, name) for folder, _, files in os.walk(root) for name in files)
    target = os.path.join(root, f"d{chance.randrange(4)}", f"f{chance.randrange(40)}.py")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    action = chance.randrange(4)
    if action == 0 or len(names) < 5:
        open(target, "w").write(f"from d0 import f1\\ndef made_{step}(): return f1.call({step})\\n")
    elif action == 1:
        open(chance.choice(names), "a").write(f"value_{step} = 'edited'\\n")
    elif action == 2:
        os.rename(chance.choice(names), target)
    else:
        os.unlink(chance.choice(names))
"""


@contextmanager
def vandal(root: Path, seed: int, steps: int) -> Iterator["subprocess.Popen[bytes]"]:
    """That process, running."""
    process = subprocess.Popen([sys.executable, "-c", VANDAL, str(root), str(seed), str(steps)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_queries_hold_while_files_change(tmp_path: Path) -> None:
    """Created, edited, renamed and deleted by another process, noticed by the watcher; at the end all is as new."""
    write_tree(tmp_path / "w", {f"d{n % 4}/f{n}.py": f"def first_{n}(): pass\n" for n in range(20)})
    index = Index.open(tmp_path / "w", num_workers=1)
    try:
        index.refresh()
        with vandal(tmp_path / "w", 3, NUM_CHANGES) as process:
            while process.poll() is None:
                for file in index.files()[:5]:
                    index.definitions_of(file.file_id)
                    index.importers_of(file.file_id)
                index.candidates({"made": 1.0, "edited": 1.0}, 10)
        index.refresh()

        assert everything(index._database_path) == fresh(tmp_path / "w", tmp_path / "other")
    finally:
        index.close()


def test_killed_builds_end_in_the_right_index(tmp_path: Path) -> None:
    """`kill -9` between any two files of a build; the next one goes on from there."""
    write_tree(tmp_path / "w", {f"d{n % 7}/f{n}.py": f"def f{n}(): return g{n}()\n" * 20 for n in range(NUM_FILES)})
    chance, database = random.Random(11), tmp_path / "x.db"
    small_batches = "from qcn_agent.index import builder, indexer; builder._BATCH_FILES = 20; indexer.main()"
    command = [sys.executable, "-P", "-c", small_batches, str(tmp_path / "w"), str(database), "1", "0"]
    for _ in range(NUM_KILLS):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"do": "refresh", "id": 1}\n')
        process.stdin.flush()
        for _ in range(chance.randint(1, 3)):  # batches that are stored; the next one is under way
            process.stdout.readline()
        process.kill()
        process.communicate()
    tree = IndexedTree(tmp_path / "w", database)
    num_stored = tree.reader.corpus_stats().num_files

    tree.refresh()
    tree.close()

    assert 0 < num_stored < NUM_FILES
    assert everything(database) == fresh(tmp_path / "w", tmp_path / "other")


def test_two_indexes_on_one_workspace_agree(tmp_path: Path) -> None:
    """Both asked to refresh at once, again and again, while files change."""
    write_tree(tmp_path / "w", {f"d{n % 4}/f{n}.py": "x = 1\n" for n in range(20)})
    indexes = [Index.open(tmp_path / "w", num_workers=1, watch=False) for _ in range(2)]
    failures: list[BaseException] = []

    def refresh(index: Index) -> None:
        try:
            for _ in range(NUM_CHANGES // 20):
                index.refresh()
                index.candidates({"made": 1.0}, 5)
        except BaseException as error:
            failures.append(error)

    with vandal(tmp_path / "w", 8, NUM_CHANGES) as process:
        threads = [threading.Thread(target=refresh, args=(index,)) for index in indexes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process.wait()
    for index in indexes:
        index.refresh()

    assert failures == []
    assert sorted(index.status().is_writer for index in indexes) == [False, True]
    assert everything(indexes[0]._database_path) == fresh(tmp_path / "w", tmp_path / "other")
    for index in indexes:
        index.close()


def test_a_repository_made_to_hurt(tmp_path: Path) -> None:
    """NUM_CROWDED empty files in a folder, a huge sparse file, deep nesting, a link to the root, odd bytes."""
    root = tmp_path / "w"
    crowd = root / "crowd"
    crowd.mkdir(parents=True)
    for number in range(NUM_CROWDED):
        (crowd / f"{number}.py").touch()
    with (root / "sparse.py").open("wb") as file:
        file.truncate(1 << 30)
    deep = root / "/".join(["deep"] * 60)
    deep.mkdir(parents=True)
    odd = os.fsdecode(b"\xff\xfe\n.py")
    write_tree(deep, {"bottom.py": "def at_the_bottom(): pass\n"})
    write_tree(
        root,
        {
            odd: "def oddly_named(): pass\n",
            "nested.py": "(" * 200_000,
            "nested.js": "[" * 100_000 + "{" * 100_000,
            "garbage.c": bytes(range(1, 256)) * 1000,
            "latin.py": "größe = 1\n".encode("latin-1"),
            "utf16.py": "def x(): pass\n".encode("utf-16"),
        },
    )
    (root / "slash").symlink_to("/")
    os.mkfifo(root / "pipe.py")
    index = Index.open(root, num_workers=2, watch=False)
    try:
        result = index.refresh()
        files = {file.path: file for file in index.files()}

        assert result.num_files == NUM_CROWDED + 8
        assert files["sparse.py"].depth == Depth.PATH
        assert len(index.definitions_named("at_the_bottom")) == 1
        assert [one.path for one in index.definitions_named("oddly_named")] == [odd]
        assert not [path for path in files if path.startswith("slash")]
        assert index.refresh().num_read == 0
    finally:
        index.close()


def test_a_file_size_limit_stands_for_a_full_disk(tmp_path: Path) -> None:
    """The indexer can't grow its database: an answer, no crash; with room the next refresh makes it whole."""
    write_tree(tmp_path / "w", {f"f{n}.py": f"def function_{n}(argument_{n}): pass\n" * 30 for n in range(NUM_FILES)})
    database = tmp_path / "x.db"
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY));"
        "from qcn_agent.index import indexer; indexer.main()"
    )
    command = [sys.executable, "-P", "-c", limited, str(tmp_path / "w"), str(database), "1", "0"]

    done = subprocess.run(command, input=b'{"do": "refresh", "id": 1}\n', stdout=subprocess.PIPE, timeout=60)

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(answer["event"], answer["id"]) for answer in answers if "id" in answer] == [("failed", 1)]
    assert done.returncode == 0
    tree = IndexedTree(tmp_path / "w", database)
    tree.refresh()
    tree.close()
    assert everything(database) == fresh(tmp_path / "w", tmp_path / "other")
