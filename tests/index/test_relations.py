"""Which files belong together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qcn_agent.index.cochange import cochange_rows
from qcn_agent.index.pairs import is_test, nearness, stem_under_test, stems_of_tests
from tests.fakes.indexed import IndexedTree, indexed

CASES: list[tuple[dict[str, str], str, list[str]]] = [
    (
        {
            "pkg/__init__.py": "",
            "pkg/a.py": "import pkg.b\nfrom pkg import c\nfrom . import d\nfrom .sub import e\n"
            "from ..other import f\nimport os\n",
            "pkg/b.py": "",
            "pkg/c.py": "",
            "pkg/d.py": "",
            "pkg/sub/__init__.py": "",
            "pkg/sub/e.py": "",
            "lib/os.py": "",
        },
        "pkg/a.py",
        ["pkg/__init__.py", "pkg/b.py", "pkg/c.py", "pkg/d.py", "pkg/sub/__init__.py", "pkg/sub/e.py"],
    ),
    (
        {"src/lib/mod.py": "from lib.helper import x\n", "src/lib/helper.py": "", "vendor/lib/helper.py": ""},
        "src/lib/mod.py",
        ["src/lib/helper.py"],
    ),
    (
        {
            "web/app.ts": "import a from './a';\nimport './b.js';\nimport c from '../c';\n"
            "import { d } from '@/d';\nimport 'react';\n",
            "web/a.tsx": "",
            "web/b.js": "",
            "c/index.ts": "",
            "src/d.ts": "",
            "x/react.py": "",
        },
        "web/app.ts",
        ["c/index.ts", "src/d.ts", "web/a.tsx", "web/b.js"],
    ),
    (
        {
            "cmd/main.go": 'package main\nimport (\n"fmt"\n"example.org/repo/pkg/store"\n)\n',
            "pkg/store/a.go": "package store\n",
            "pkg/store/b.go": "package store\n",
            "pkg/store/a_test.go": "package store\n",
        },
        "cmd/main.go",
        ["pkg/store/a.go", "pkg/store/b.go"],
    ),
    (
        {
            "src/main.rs": "mod parser;\nuse crate::util::text::Trim;\nuse std::fmt;\n",
            "src/parser/mod.rs": "use super::util;\nuse self::lexer::Lexer;\n",
            "src/parser/lexer.rs": "",
            "src/util/text.rs": "",
        },
        "src/main.rs",
        ["src/parser/mod.rs", "src/util/text.rs"],
    ),
    (
        {
            "src/main/java/org/x/App.java": "import org.x.util.Text;\nimport java.util.List;\n"
            "import static org.x.K.MAX;\n",
            "src/main/java/org/x/util/Text.java": "",
            "src/main/java/org/x/K.java": "",
        },
        "src/main/java/org/x/App.java",
        ["src/main/java/org/x/util/Text.java"],
    ),
    (
        {
            "src/a.c": '#include "a.h"\n#include "util/text.h"\n#include <stdio.h>\n',
            "src/a.h": "",
            "include/util/text.h": "",
        },
        "src/a.c",
        ["include/util/text.h", "src/a.h"],
    ),
]


@pytest.mark.parametrize(("files", "importer", "expected"), CASES, ids=[case[1] for case in CASES])
def test_imports_are_resolved_by_paths(
    tmp_path: Path, files: dict[str, str], importer: str, expected: list[str]
) -> None:
    """To files of the same language family; what lies outside resolves to nothing. And back."""
    with indexed(tmp_path / "w", files) as tree:
        found = tree.reader.imports_of(tree.id_of(importer))

        assert [file.path for file in found] == expected
        for file in found:
            assert importer in [other.path for other in tree.reader.importers_of(file.file_id)]


def test_an_edge_follows_a_file_that_appears(tmp_path: Path) -> None:
    """Though the importer was read before."""
    with indexed(tmp_path / "w", {"a.py": "import b\n"}) as tree:
        assert tree.reader.imports_of(tree.id_of("a.py")) == []

        tree.write("b.py", "x = 1\n")

        assert [file.path for file in tree.reader.imports_of(tree.id_of("a.py"))] == ["b.py"]
        assert [file.path for file in tree.reader.importers_of(tree.id_of("b.py"))] == ["a.py"]


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("tests/test_core.py", "core"),
        ("core_test.go", "core"),
        ("src/core.test.ts", "core"),
        ("core.spec.js", "core"),
        ("CoreTest.java", "Core"),
        ("CoreTests.cs", "Core"),
        ("spec/core_spec.rb", "core"),
        ("core.py", None),
        ("contest.py", None),
        ("test.py", None),
        ("latest.py", None),
    ],
)
def test_a_tests_name_says_what_it_tests(path: str, stem: str | None) -> None:
    """By the habits of each language."""
    assert stem_under_test(path) == stem
    if stem:
        assert is_test(path)


def test_a_file_in_a_test_folder_is_a_test() -> None:
    """Whatever its name."""
    assert is_test("tests/helpers.py")
    assert not is_test("src/latest/helpers.py")


def test_the_tests_of_a_file_may_be_called() -> None:
    """The way back."""
    assert {"test_core", "core_test", "coreTest"} <= set(stems_of_tests("src/core.py"))


def test_nearness_leaves_test_folders_out() -> None:
    """tests/a/test_x is as near to src/a/x as a test can be."""
    assert nearness("src/a/x.py", "tests/a/test_x.py") == 1.0
    assert nearness("src/a/x.py", "tests/b/test_x.py") < 1.0


PAIRS = {
    "src/a/core.py": "def f(): pass\n",
    "src/b/core.py": "def g(): pass\n",
    "tests/a/test_core.py": "from a.core import f\n",
    "tests/b/test_core.py": "from b.core import g\n",
    "web/view.ts": "",
    "web/view.test.ts": "import './view'\n",
    "test_core.md": "",
}


def test_tests_and_sources_find_each_other(tmp_path: Path) -> None:
    """The nearest and the importing first."""
    with indexed(tmp_path / "w", PAIRS) as tree:
        assert _related(tree, "tests_of", "src/a/core.py")[0] == "tests/a/test_core.py"
        assert _related(tree, "tests_of", "src/b/core.py")[0] == "tests/b/test_core.py"
        assert _related(tree, "sources_of", "tests/b/test_core.py")[0] == "src/b/core.py"
        assert _related(tree, "tests_of", "web/view.ts") == ["web/view.test.ts"]
        assert _related(tree, "sources_of", "web/view.test.ts") == ["web/view.ts"]
        assert _related(tree, "tests_of", "tests/a/test_core.py") == []
        assert _related(tree, "sources_of", "src/a/core.py") == []


def test_history_makes_neighbours(tmp_path: Path, git: Callable[..., str]) -> None:
    """Of files that are still there."""
    with indexed(tmp_path / "w", {"a.py": "1", "b.py": "1", "c.py": "1"}) as tree:
        git(tree.workspace, "init", "-q")
        git(tree.workspace, "add", "a.py", "b.py")
        git(tree.workspace, "commit", "-qm", "x")
        with tree.store.transaction():
            tree.store.replace_cochange(cochange_rows(tree.workspace, tree.store.file_ids()))

        assert _related(tree, "cochanged", "a.py") == ["b.py"]
        assert _related(tree, "cochanged", "c.py") == []
        (tree.workspace / "b.py").unlink()
        tree.refresh()
        assert _related(tree, "cochanged", "a.py") == []


def test_an_unknown_file_has_no_relations(tmp_path: Path) -> None:
    """An id that was removed meanwhile is no error."""
    with indexed(tmp_path / "w", {"a.py": ""}) as tree:
        reader = tree.reader

        assert (reader.imports_of(99), reader.importers_of(99), reader.tests_of(99)) == ([], [], [])
        assert (reader.sources_of(99), reader.cochanged(99)) == ([], [])


def _related(tree: IndexedTree, query: str, path: str) -> list[str]:
    return [one.path for one in getattr(tree.reader, query)(tree.id_of(path))]
