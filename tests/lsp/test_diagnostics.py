"""The code action at a diagnostic, through the real protocol, with a scripted model and real tests of a project."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from qcn_lsp.documents import UTF_16, Document
from qcn_lsp.features.diagnostics import COMMAND
from tests.conftest import RIGHT, WRONG
from tests.fakes.scripted import call
from tests.fakes.window import Window

FIX = call("edit_file", path="calc.py", old_string=WRONG, new_string=RIGHT)
READ = call("read_file", path="calc.py")
CAPABILITIES = {
    "window": {"workDoneProgress": True},
    "workspace": {"workspaceEdit": {"documentChanges": True, "changeAnnotationSupport": {}}},
}
Tree = Callable[[Path], dict[str, tuple[bytes, int]]]


class Editor(Window):
    """One that can confirm edits and show progress."""

    def __init__(self, folder: Path, env: Mapping[str, str], **options: Any) -> None:
        super().__init__(folder, CAPABILITIES, qcnEnv=dict(env), **options)

    def actions(self, path: Path) -> list[dict[str, Any]]:
        """What is offered at a diagnostic."""
        spot = {"line": 5, "character": 0}
        found = {"range": {"start": spot, "end": spot}, "message": "clamp ignores high", "source": "lint", "code": 7}
        params = {"textDocument": {"uri": path.as_uri()}, "range": found["range"], "context": {"diagnostics": [found]}}
        actions: list[dict[str, Any]] = self.ask("textDocument/codeAction", params)["result"]
        return actions

    def said(self, method: str) -> list[Any]:
        """Parameters of what the server has said."""
        return [message["params"] for message in self.heard if message.get("method") == method]


@pytest.fixture
def make_editor(project: Path, client_env: Mapping[str, str]) -> Iterator[Callable[..., Editor]]:
    """Connects editors with the project as their folder; all are closed."""
    made: list[Editor] = []

    def make(folder: Path = project, **options: Any) -> Editor:
        made.append(Editor(folder, client_env, **options))
        return made[-1]

    yield make
    for editor in made:
        editor.connection.close()


def test_a_fix_is_proven_shown_and_one_step(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], project: Path, tree: Tree
) -> None:
    """The tree stays as it is; the editor gets one edit of the version that it has, to be confirmed, with progress."""
    daemon(READ, FIX)
    editor, path, before = make_editor(), project / "calc.py", tree(project)
    text = path.read_text()
    editor.open(path.as_uri(), text, 4)
    (action,) = editor.actions(path)
    assert action["kind"] == "quickfix"
    assert "clamp ignores high" in action["title"]

    answer = editor.do(action["command"])["result"]

    assert answer == {"ending": "fixed", "reason": answer["reason"], "applied": True}
    assert tree(project) == before
    (asked,) = editor.said("workspace/applyEdit")
    (change,) = asked["edit"]["documentChanges"]
    assert change["textDocument"] == {"uri": path.as_uri(), "version": 4}
    assert all(annotation["needsConfirmation"] for annotation in asked["edit"]["changeAnnotations"].values())
    document = Document(path.as_uri(), "python", 4, text)
    edits = [{"range": edit["range"], "text": edit["newText"]} for edit in change["edits"]]
    document.apply(5, edits, UTF_16)
    assert document.text == text.replace(WRONG, RIGHT)
    kinds = [progress["value"]["kind"] for progress in editor.said("$/progress")]
    assert (kinds[0], kinds[-1]) == ("begin", "end")
    assert "report" in kinds


def test_an_editor_that_reads_files_again_while_the_agent_works(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], project: Path
) -> None:
    """It gets an edit of the version that it has once it has seen that the tree was put back."""
    daemon(READ, FIX)
    editor, path = make_editor(), project / "calc.py"
    texts = [path.read_text()]
    editor.open(path.as_uri(), texts[0])

    def follow(message: dict[str, Any]) -> None:
        text, is_over = path.read_text(), message["params"]["value"]["kind"] == "end"
        if text != texts[-1] and (RIGHT in text or is_over):  # an editor is never as fast as the daemon
            texts.append(text)
            named = {"uri": path.as_uri(), "version": len(texts)}
            change = {"textDocument": named, "contentChanges": [{"text": text}]}
            editor.connection.notify("textDocument/didChange", change)

    editor.on_report = follow
    answer = editor.do(editor.actions(path)[0]["command"])
    assert [RIGHT in text for text in texts] == [False, True, False]
    assert answer["result"]["applied"]
    (asked,) = editor.said("workspace/applyEdit")
    assert asked["edit"]["documentChanges"][0]["textDocument"]["version"] == 3


@pytest.mark.parametrize(("data", "text"), [(b"\xef\xbb\xbfx = 1\n", "x = 1\n"), (b"x = '\xe9'\n", "x = 'é'\n")])
def test_a_file_that_is_saved_in_another_encoding_is_saved(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], project: Path, data: bytes, text: str
) -> None:
    """The editor says so; its text is not the bytes."""
    daemon(READ, FIX)
    editor = make_editor()
    (project / "other.py").write_bytes(data)
    editor.open((project / "other.py").as_uri(), text)
    answer = editor.do(editor.actions(project / "calc.py")[0]["command"])
    assert answer.get("result", {}).get("ending") == "fixed"


def test_the_agent_hears_where_and_what(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], project: Path
) -> None:
    """File, line, message, and who said it."""
    running = daemon(READ, FIX)
    editor = make_editor()
    editor.open((project / "calc.py").as_uri(), (project / "calc.py").read_text(), 4)
    editor.do(editor.actions(project / "calc.py")[0]["command"])
    assert any("calc.py:6: clamp ignores high (lint 7)" in text for text in running.host.engine.prompts())


def test_what_is_not_saved_is_not_touched(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], project: Path
) -> None:
    """The agent would work on another text than the one that its user sees."""
    daemon(FIX)
    editor = make_editor()
    editor.open((project / "calc.py").as_uri(), "typed", 4)
    error = editor.do(editor.actions(project / "calc.py")[0]["command"])["error"]
    assert "calc.py is not saved" in error["message"]
    assert "save your files" in error["data"]["hint"]
    assert editor.said("workspace/applyEdit") == []


def test_nothing_is_offered_where_nothing_may_run(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], project: Path, tmp_path: Path
) -> None:
    """Outside the folders, and in folders that are not trusted; nor does the command work there."""
    daemon(FIX)
    assert make_editor().actions(tmp_path / "other.py") == []
    wary = make_editor(qcnTrusted=False)
    assert wary.actions(project / "calc.py") == []
    order = {"uri": (project / "calc.py").as_uri(), "line": 0, "message": "x"}
    answer = wary.ask("workspace/executeCommand", {"command": COMMAND, "arguments": [order]})
    assert "no trusted folder" in answer["error"]["message"]


def test_the_cancel_button_ends_the_run(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], project: Path, tree: Tree
) -> None:
    """The tree is as it was, and nothing is applied."""
    daemon(READ, FIX)
    editor, before = make_editor(), tree(project)
    editor.open((project / "calc.py").as_uri(), (project / "calc.py").read_text(), 4)

    def cancel(message: dict[str, Any]) -> None:
        editor.connection.notify("window/workDoneProgress/cancel", {"token": message["params"]["token"]})

    editor.on_report = cancel
    answer = editor.do(editor.actions(project / "calc.py")[0]["command"])
    assert answer["result"]["ending"] == "cancelled"
    assert tree(project) == before
    assert editor.said("workspace/applyEdit") == []


def test_without_a_patch_it_says_so(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], project: Path
) -> None:
    """No empty edit."""
    daemon(READ, "I can't.", "I can't.", "I can't.", "I can't.")
    editor = make_editor()
    editor.open((project / "calc.py").as_uri(), (project / "calc.py").read_text(), 4)
    answer = editor.do(editor.actions(project / "calc.py")[0]["command"])["result"]
    assert answer["applied"] is False
    assert "no fix was found" in editor.said("window/showMessage")[0]["message"]
