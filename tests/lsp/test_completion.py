"""Inline completions through the real protocol, with a generator that says what the test wants."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.window import Window

TEXT = "def clamp(value, low, high):\n    return max(low, min(value, high))\n\n\ndef double(value):\n    return "
GHOST: dict[str, Any] = {"textDocument": {"inlineCompletion": {}}}


class Editor(Window):
    """With one document, a new file."""

    def __init__(self, folder: Path, capabilities: dict[str, Any]) -> None:
        super().__init__(folder, capabilities)
        self.uri = (folder / "new.py").as_uri()

    def write(self, text: str, version: int = 1) -> None:
        """Open it."""
        self.open(self.uri, text, version)

    def insert(self, version: int, line: int, character: int, text: str) -> None:
        """Type."""
        spot = {"line": line, "character": character}
        change = {"range": {"start": spot, "end": spot}, "text": text}
        named = {"uri": self.uri, "version": version}
        self.connection.notify("textDocument/didChange", {"textDocument": named, "contentChanges": [change]})

    def ghost(self, line: int, character: int, **context: Any) -> list[dict[str, Any]]:
        """Ghost text for a cursor; asked for, so that no debounce is in the way."""
        params = {
            "textDocument": {"uri": self.uri},
            "position": {"line": line, "character": character},
            "context": {"triggerKind": 1, **context},
        }
        items: list[dict[str, Any]] = self.result("textDocument/inlineCompletion", params)["items"]
        return items


@pytest.fixture
def make_editor(project: Path) -> Iterator[Callable[..., Editor]]:
    """Opens windows on the project; all are closed."""
    made: list[Editor] = []

    def make(capabilities: dict[str, Any] = GHOST) -> Editor:
        made.append(Editor(project, capabilities))
        return made[-1]

    yield make
    for editor in made:
        editor.connection.close()


def events(running: Any) -> dict[str, float]:
    """Counts by event."""
    return {row.event: row.amount for row in running.services.completions.tally.rows()}


def test_ghost_text_stands_at_the_cursor(daemon: Callable[..., Any], make_editor: Callable[..., Editor]) -> None:
    """With a range, so that the editor knows where, and a command that says it was accepted."""
    running = daemon("value * 2")
    editor = make_editor()
    assert "inlineCompletionProvider" in editor.capabilities
    assert "completionProvider" not in editor.capabilities
    editor.write(TEXT)
    (item,) = editor.ghost(5, 11)
    spot = {"line": 5, "character": 11}
    assert (item["insertText"], item["range"]) == ("value * 2", {"start": spot, "end": spot})
    editor.do(item["command"])
    assert events(running) == {"shown": 1, "accepted": 1, "accepted_chars": len("value * 2")}


def test_text_that_the_editor_puts_in_was_accepted(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor]
) -> None:
    """Word by word, without a command."""
    running = daemon("value * 2")
    editor = make_editor()
    editor.write(TEXT)
    editor.ghost(5, 11)
    editor.insert(2, 5, 11, "value")
    editor.insert(3, 5, 16, " * 2")
    editor.result("qcn/status", {})
    assert events(running)["accepted_in_parts"] == 1


def test_a_selected_item_of_the_popup_is_gone_on_with(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor]
) -> None:
    """The text begins with it, in its range; the model has read it."""
    running = daemon(" * 200")
    editor = make_editor()
    editor.write(TEXT + "va")
    begin, end = {"line": 5, "character": 11}, {"line": 5, "character": 13}
    selected = {"range": {"start": begin, "end": end}, "text": "value"}
    (item,) = editor.ghost(5, 13, selectedCompletionInfo=selected)
    assert (item["insertText"], item["range"]) == ("value * 200", {"start": begin, "end": end})
    assert "return value" in running.host.engine.prompts()[-1]


def test_what_is_not_known_is_answered_with_an_empty_list(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], tmp_path: Path
) -> None:
    """A document that is not open, one that is no file, one that holds secrets: never null, never an error."""
    daemon("x", "x", "x")
    editor = make_editor()
    assert editor.ghost(0, 0) == []
    editor.uri = "untitled:Untitled-1"
    editor.write(TEXT)
    assert editor.ghost(5, 11) == []
    editor.uri = (tmp_path / "project" / ".env").as_uri()
    editor.write("TOKEN=")
    assert editor.ghost(0, 6) == []


def test_while_there_is_no_model_nothing_is_offered(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first key begins to load it, once, and does not wait."""
    running = daemon("x")
    monkeypatch.setattr(running.host, "loaded", lambda: None)
    editor = make_editor()
    editor.write(TEXT)
    assert [editor.ghost(5, 11) for _ in range(3)] == [[], [], []]
    assert running.host.wanted == [""]


def test_an_editor_without_ghost_text_gets_one_item_of_a_list(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor]
) -> None:
    """Last in the list, and to be asked for again as it is typed on."""
    daemon("value * 2")
    editor = make_editor({})
    assert "completionProvider" in editor.capabilities
    editor.write(TEXT)
    params = {
        "textDocument": {"uri": editor.uri},
        "position": {"line": 5, "character": 11},
        "context": {"triggerKind": 1},
    }
    found = editor.result("textDocument/completion", params)
    (item,) = found["items"]
    assert found["isIncomplete"] is True
    assert item["textEdit"]["newText"] == "value * 2"


def test_a_list_never_waits_for_a_model(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Editors open it at every word, and say that it was invoked."""
    running, never = daemon(), asyncio.Event()
    monkeypatch.setattr(running.host, "loaded", lambda: None)
    monkeypatch.setattr(running.host, "load", lambda path, say: never.wait())
    editor = make_editor({})
    editor.write(TEXT)
    place = {"line": 5, "character": 11}
    begun = time.monotonic()
    for _ in range(2):
        params = {"textDocument": {"uri": editor.uri}, "position": place, "context": {"triggerKind": 1}}
        assert editor.result("textDocument/completion", params)["items"] == []
    assert time.monotonic() - begun < 8.0  # who asked for ghost text would wait ten


def test_an_item_of_the_list_begins_with_the_word_that_is_typed(
    daemon: Callable[..., Any], make_editor: Callable[..., Editor]
) -> None:
    """Editors with a list keep only items that match what stands before the cursor."""
    daemon("ue * 2")
    editor = make_editor({})
    editor.write(TEXT + "val")
    params = {"textDocument": {"uri": editor.uri}, "position": {"line": 5, "character": 14}}
    (item,) = editor.result("textDocument/completion", params)["items"]
    begin, end = {"line": 5, "character": 11}, {"line": 5, "character": 14}
    assert item["textEdit"] == {"range": {"start": begin, "end": end}, "newText": "value * 2"}
    assert item["filterText"].startswith("val")


def test_windows_do_not_see_each_other(daemon: Callable[..., Any], make_editor: Callable[..., Editor]) -> None:
    """Each has its own text of the same file."""
    running = daemon("1", "2")
    one, other = make_editor(), make_editor()
    one.write("one_text = ")
    other.write("other_text = ")
    one.ghost(0, 11)
    assert "other_text" not in running.host.engine.prompts()[-1]
    other.ghost(0, 13)
    assert "one_text" not in running.host.engine.prompts()[-1]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_line_ends_are_no_matter(daemon: Callable[..., Any], make_editor: Callable[..., Editor], ends: str) -> None:
    """The model reads LF; the place is the editor's."""
    running = daemon("value * 2")
    editor = make_editor()
    editor.write(TEXT.replace("\n", ends))
    (item,) = editor.ghost(5, 11)
    assert item["insertText"] == "value * 2"
    assert "\r" not in running.host.engine.prompts()[-1]
