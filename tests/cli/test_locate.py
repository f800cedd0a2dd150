"""`locate`: what it prints, what it needs, how it fails."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qcn_agent import paths
from qcn_agent.cli.locate import _Progress, command
from qcn_agent.errors import QcnError
from qcn_agent.index.index import Index
from qcn_agent.index.lock import WriterLock

ISSUE = "clamp returns the wrong bound for a large value"


def _locate(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(command, list(arguments), input=stdin)


def _files(result: Result) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(result.stdout)["files"]
    return listed


def test_the_file_and_its_function_come_first(project: Path) -> None:
    """Each place as path:line, with reasons; the test comes after the source."""
    result = _locate(ISSUE, "--workspace", str(project))
    lines = result.stdout.splitlines()

    assert result.exit_code == 0
    assert lines[:2] == ["  1  calc.py:4", "       calc.py:4  function clamp"]
    assert "       · defines clamp" in lines
    assert any(line.startswith("  2  tests/test_calc.py:") for line in lines)


def test_json_has_scores_symbols_and_reasons(project: Path) -> None:
    """And no numbers that mean nothing outside."""
    result = _locate(ISSUE, "--workspace", str(project), "--json")
    best = _files(result)[0]

    assert json.loads(result.stdout)["workspace"] == str(project.resolve())
    assert set(best) == {"path", "score", "reasons", "symbols"}
    assert best["path"] == "calc.py"
    assert best["symbols"][0] | {"score": 0, "reasons": []} == {
        "name": "clamp",
        "qualified": "clamp",
        "kind": "function",
        "start_line": 4,
        "end_line": 6,
        "score": 0,
        "reasons": [],
    }


def test_only_so_many_files_are_shown(project: Path) -> None:
    """-k, which must be positive."""
    assert len(_files(_locate(ISSUE, "--workspace", str(project), "--json", "-k", "1"))) == 1
    assert _locate(ISSUE, "-k", "0").exit_code == 2


def test_the_issue_may_come_from_a_file_or_stdin(project: Path, tmp_path: Path) -> None:
    """As with fix."""
    (tmp_path / "issue.md").write_text(ISSUE)
    expected = _locate(ISSUE, "--workspace", str(project)).stdout

    assert _locate(f"@{tmp_path / 'issue.md'}", "--workspace", str(project)).stdout == expected
    assert _locate("-", "--workspace", str(project), stdin=ISSUE).stdout == expected


def test_a_saved_change_is_seen(project: Path) -> None:
    """Each call brings the index up to date."""
    _locate(ISSUE, "--workspace", str(project))
    (project / "limits.py").write_text("def brand_new_name():\n    pass\n")

    assert _files(_locate("`brand_new_name`", "--workspace", str(project), "--json"))[0]["path"] == "limits.py"


def test_the_tree_stays_as_it_is(project: Path, tree: Callable[[Path], dict[str, tuple[bytes, int]]]) -> None:
    """The index lies elsewhere."""
    before = tree(project)

    _locate(ISSUE, "--workspace", str(project))

    assert tree(project) == before
    assert list((paths.cache_dir() / "index").glob("*.db"))


def test_nothing_that_fits_says_what_to_do(project: Path, tmp_path: Path) -> None:
    """On stderr; JSON stays JSON."""
    (tmp_path / "empty").mkdir()
    unknown = _locate("zebra quagga", "--workspace", str(project), "--json")
    empty = _locate(ISSUE, "--workspace", str(tmp_path / "empty"))

    assert (_files(unknown), unknown.exit_code) == ([], 0)
    assert "→ name a function" in unknown.stderr
    assert "holds no files" in empty.stderr
    assert empty.stdout == ""


def test_it_works_without_daemon_and_llama_cpp(project: Path) -> None:
    """In an environment that can't load the model library; no daemon is started."""
    code = (
        "import sys\nsys.modules['llama_cpp'] = None\nfrom qcn_agent.cli.main import run\n"
        f"sys.exit(run(['locate', {ISSUE!r}]))"
    )

    result = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)

    assert (result.returncode, result.stdout.splitlines()[0]) == (0, "  1  calc.py:4")
    assert not paths.state_dir().joinpath("token").exists()


def test_control_characters_of_names_are_made_visible(project: Path) -> None:
    """A file's name can't write to the terminal."""
    (project / "clamp\x1b[31m.py").write_text("def clamp_red(): pass\n")

    assert "\x1b" not in _locate("clamp_red", "--workspace", str(project)).stdout


def test_an_index_that_cannot_be_kept_is_an_error(project: Path) -> None:
    """With what to do."""
    paths.cache_dir().mkdir(parents=True)
    (paths.cache_dir() / "index").write_text("a file where a folder should be")

    result = subprocess.run(
        [sys.executable, "-m", "qcn_agent", "locate", ISSUE], cwd=project, capture_output=True, text=True
    )

    assert result.returncode == 1
    assert "  → " in result.stderr
    assert "Traceback" not in result.stderr


def test_what_another_process_has_not_read_yet_is_said(project: Path) -> None:
    """One that holds the writer's lock; without a change there is nothing to say, without an index no answer."""
    index = Index.open(project, watch=False)
    lock = WriterLock(index._database_path.with_name(f"{index._database_path.name}.lock"))
    assert lock.acquire()
    early = _locate(ISSUE, "--workspace", str(project))
    lock.release()
    _locate(ISSUE, "--workspace", str(project))
    assert lock.acquire()

    same = _locate(ISSUE, "--workspace", str(project))
    (project / "limits.py").write_text("def brand_new_name():\n    pass\n")
    changed = _locate(ISSUE, "--workspace", str(project))
    lock.release()

    assert isinstance(early.exception, QcnError)
    assert (same.exit_code, same.stderr) == (0, "")
    assert changed.stderr == "warning: another process keeps the index; files it has yet to read: 1\n"


def test_progress_is_told_for_many_files_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Outside of a terminal it is one line."""
    progress = _Progress()
    for done in range(0, 1001, 50):
        progress.show(done, 1000)
    progress.end()
    few = _Progress()
    few.show(100, 100)
    few.end()

    assert capsys.readouterr().err == "indexing: 200 of 1000 files\n"


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_not_utf8_is_shown(project: Path) -> None:
    """Somehow, and as JSON too."""
    (project / os.fsdecode(b"clamp_\xff.py")).write_text("def clamp_odd(): pass\n")

    assert _locate("clamp_odd", "--workspace", str(project)).exit_code == 0
    assert _files(_locate("clamp_odd", "--workspace", str(project), "--json"))[0]["path"] == "clamp_\udcff.py"
