"""Queries of words and names."""

import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.index.words import FIELDS
from tests.fakes.indexed import IndexedTree, everything, indexed

CLIENT = '''"""Sends requests."""

class HttpClient:
    def send(self, request):
        return self.socket.write(request)
'''
FILES = {
    "net/http_client.py": CLIENT,
    "net/socket.py": "class Socket:\n    def write(self, data):\n        raise OSError('connection refused')\n",
    "app.py": "from net.http_client import HttpClient\n\nHttpClient().send(1)\nHttpClient().send(2)\n",
    "notes.md": "The client sends a request\n",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexedTree]:
    """One indexed workspace for all tests, which only read."""
    with indexed(tmp_path_factory.mktemp("reader") / "w", FILES) as built:
        yield built


def test_files_are_sorted_and_described(tree: IndexedTree) -> None:
    """Path, language, size."""
    files = tree.reader.files()

    assert [(file.path, file.language) for file in files] == [
        ("app.py", "python"),
        ("net/http_client.py", "python"),
        ("net/socket.py", "python"),
        ("notes.md", "text"),
    ]
    assert [file.size for file in files] == [len(FILES[file.path]) for file in files]
    assert tree.reader.file(files[0].file_id) == files[0] == tree.reader.file_at("app.py")
    assert tree.reader.file(10_000) is None


def test_files_are_found_by_parts_of_their_path(tree: IndexedTree) -> None:
    """Stem, folder, ending."""
    assert [file.path for file in tree.reader.files_with_stem("socket")] == ["net/socket.py"]
    assert [file.path for file in tree.reader.files_in("")] == ["app.py", "notes.md"]
    assert [file.path for file in tree.reader.files_ending("net/socket")] == ["net/socket.py"]
    assert tree.reader.files_ending("et/socket") == []


def test_several_files_are_found_together(tree: IndexedTree) -> None:
    """By id and by stem; what is not there is left out, and a limit cuts by path."""
    files = tree.reader.files()
    ids = [file.file_id for file in files]

    assert tree.reader.files_by_id([*ids, 10_000]) == dict(zip(ids, files, strict=True))
    assert tree.reader.files_by_id([]) == {}
    stems = {"socket", "notes", "app", "nothing"}
    assert [file.path for file in tree.reader.files_with_stems(stems, 9)] == ["app.py", "net/socket.py", "notes.md"]
    assert [file.path for file in tree.reader.files_with_stems(stems, 1)] == ["app.py"]


def test_batches_are_as_long_as_need_be(tree: IndexedTree) -> None:
    """More values than one statement takes."""
    one = tree.id_of("app.py")

    assert list(tree.reader.files_by_id([*range(50_000, 51_200), one])) == [one]
    words = [*(f"nothing{number}" for number in range(1200)), "socket"]
    assert tree.reader.corpus_stats(words).document_frequencies["socket"] == 2


def test_definitions_and_references_of_a_file(tree: IndexedTree) -> None:
    """As the single queries give them; of an unknown file there are none."""
    client, app = tree.id_of("net/http_client.py"), tree.id_of("app.py")

    tables = tree.reader.definition_tables([client, 10_000])
    assert {file_id: table.all() for file_id, table in tables.items()} == {client: tree.reader.definitions_of(client)}
    assert tree.reader.references_in(app).lines_of("send") == (3, 4)
    assert tree.reader.references_in(10_000).names == []


def test_few_definers_are_all_or_none(tmp_path: Path) -> None:
    """A name that more files define than asked for tells nothing."""
    files = {f"f{number}.py": "def get(): put()\n" for number in range(3)}
    with indexed(tmp_path / "w", {**files, "f1.py": "def get(): pass\ndef also(): pass\n"}) as built:
        ids = {built.id_of(f"f{number}.py") for number in range(3)}

        assert built.reader.few_definers(["get", "put", "also"], 3) == {
            "get": sorted(ids),
            "also": [built.id_of("f1.py")],
        }
        assert built.reader.few_definers(["get", "put"], 2) == {}
        assert built.reader.few_definers([], 2) == {}


def test_candidates_are_best_first(tree: IndexedTree) -> None:
    """A word in the path and in a definition counts more than one in the body; weights count."""
    ranked = tree.reader.candidates({"client": 1.0, "http": 1.0}, 10)
    paths = [_path(tree, file_id) for file_id, _score in ranked]

    assert paths[0] == "net/http_client.py"
    assert set(paths) == {"net/http_client.py", "app.py", "notes.md"}
    assert [score for _file_id, score in ranked] == sorted((score for _file_id, score in ranked), reverse=True)
    heavy = tree.reader.candidates({"client": 0.1, "refused": 5.0}, 1)
    assert _path(tree, heavy[0][0]) == "net/socket.py"


@pytest.mark.parametrize("word", ["unknown", 'quo"te', "OR", "a*", "", "NEAR(x y)", "ünï"])
def test_no_word_breaks_a_query(tree: IndexedTree, word: str) -> None:
    """What is not in the index is simply not found, whatever the query language thinks of it."""
    assert tree.reader.candidates({word: 1.0}, 10) == []


def test_equal_scores_are_ordered_by_path(tmp_path: Path) -> None:
    """Not by the order in which workers answered; a limit cuts the same ones each time."""
    files = {f"{name}/same.py": "token = 1\n" for name in "dbca"}
    with indexed(tmp_path / "w", files) as built:
        found = built.reader.candidates({"token": 1.0}, 3)

        assert [_path(built, file_id) for file_id, _score in found] == ["a/same.py", "b/same.py", "c/same.py"]


def test_field_counts_are_those_of_the_file(tree: IndexedTree) -> None:
    """By word and field; unknown words and unknown files are zeros."""
    ids = [tree.id_of("net/http_client.py"), 10_000]

    found = tree.reader.field_counts(ids, ["http", "send", "request", "requests", "nothing"])

    assert found.counts.shape == (2, 5, len(FIELDS))
    by_field = {field: found.counts[0, :, number].tolist() for number, field in enumerate(FIELDS)}
    assert by_field == {
        "path": [1, 0, 0, 0, 0],
        "definitions": [1, 1, 0, 0, 0],
        "docs": [0, 0, 0, 1, 0],
        "body": [1, 1, 2, 0, 0],
        "strings": [0, 0, 0, 0, 0],
    }
    assert not found.counts[1].any()
    assert not found.lengths[1].any()


def test_lengths_are_sums_of_counts(tree: IndexedTree) -> None:
    """Over all words of the index."""
    words = list(everything(tree.database)["stats"].document_frequencies)
    ids = [file.file_id for file in tree.reader.files()]

    found = tree.reader.field_counts(ids, words)

    assert (found.counts.sum(axis=1) == found.lengths).all()
    averages = tree.reader.corpus_stats().average_lengths
    assert np.allclose(found.lengths.mean(axis=0), averages)


def test_document_frequencies_count_files(tree: IndexedTree) -> None:
    """In whatever field; 0 for what never occurs."""
    stats = tree.reader.corpus_stats(["client", "socket", "nowhere"])

    assert stats.num_files == 4
    assert stats.document_frequencies == {"client": 3, "socket": 2, "nowhere": 0}


def test_definitions_are_found_by_name(tree: IndexedTree) -> None:
    """Case matters; place and signature come along."""
    found = tree.reader.definitions_named("send")

    assert [(one.path, one.definition.qualified, one.definition.start_line) for one in found] == [
        ("net/http_client.py", "HttpClient.send", 4)
    ]
    assert tree.reader.definitions_named("SEND") == []
    assert [one.name for one in tree.reader.definitions_of(tree.id_of("net/socket.py"))] == ["Socket", "write"]


def test_references_come_with_counts_and_lines(tree: IndexedTree) -> None:
    """The file that refers most comes first."""
    found = tree.reader.references_to("send")

    assert [(one.path, one.count, one.lines) for one in found] == [("app.py", 2, (3, 4))]
    assert tree.reader.reference_counts("write") == [(tree.id_of("net/http_client.py"), 1)]


def test_common_words_do_not_drown_rare_ones(tmp_path: Path) -> None:
    """The file with the rare word leads, though the common one is everywhere."""
    files = {f"f{number}.py": "common = 1\n" for number in range(30)} | {"rare.py": "common = special = 1\n"}
    with indexed(tmp_path / "w", files) as built:
        found = built.reader.candidates({"common": 1.0, "special": 1.0}, 40)

        assert _path(built, found[0][0]) == "rare.py"
        assert len(found) == 31
        assert all(math.isfinite(score) for _file_id, score in found)


def test_what_is_kept_is_of_the_database_that_is_there(tmp_path: Path) -> None:
    """Neither a change nor another database under the same name, with as many changes behind it, gives old answers."""
    many = {f"f{number}.py": "def token(): pass\n" for number in range(40)}
    with indexed(tmp_path / "w", many) as built:
        reader = built.reader
        assert len(reader.candidates({"token": 1.0}, 100)) == 40
        built.write("f0.py", "def other(): pass\n")
        assert len(reader.candidates({"token": 1.0}, 100)) == 39
        assert reader.definition_tables([built.id_of("f0.py")])[built.id_of("f0.py")].names == ["other"]
        assert not reader.field_counts([built.id_of("f0.py")], ["token"]).counts.any()
        generation = reader.generation()
        reader.close()
    for suffix in ("", "-wal", "-shm"):
        built.database.with_name(built.database.name + suffix).unlink(missing_ok=True)
    with indexed(tmp_path / "w", {"f1.py": "x = 1\n"}) as again:
        again.write("f2.py", "x = 2\n")
        assert reader.generation() == generation
        assert len(reader.candidates({"token": 1.0}, 100)) == 37
        reader.close()


def test_many_threads_may_ask(tree: IndexedTree) -> None:
    """All get the same answer."""
    answers: list[object] = []

    def ask() -> None:
        for _ in range(20):
            answers.append(tuple(tree.reader.candidates({"client": 1.0}, 5)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 80
    assert len(set(answers)) == 1


def _path(tree: IndexedTree, file_id: int) -> str:
    file = tree.reader.file(file_id)
    assert file is not None
    return file.path
