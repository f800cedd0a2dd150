"""What the shim knows of its editor is enough for a new daemon, and no more than still holds."""

from typing import Any

import pytest

from qcn_lsp.mirror import Mirror, answer_instead

ITEM = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "x = 1\n"}


def request(request_id: Any, method: str, params: Any = None) -> dict[str, Any]:
    """As an editor sends it."""
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def notification(method: str, params: Any = None) -> dict[str, Any]:
    """As an editor sends it."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def insertion(version: Any, character: int, text: str) -> dict[str, Any]:
    """A didChange in the first line."""
    spot = {"line": 0, "character": character}
    change = {"range": {"start": spot, "end": spot}, "text": text}
    params = {"textDocument": {"uri": ITEM["uri"], "version": version}, "contentChanges": [change]}
    return notification("textDocument/didChange", params)


@pytest.fixture
def mirror() -> Mirror:
    """Of a session that is under way, with one folder and one document."""
    made = Mirror()
    folders = [{"uri": "file:///one", "name": "one"}]
    made.from_editor(request(1, "initialize", {"processId": 5, "workspaceFolders": folders}))
    made.from_daemon({"id": 1, "result": {"capabilities": {"positionEncoding": "utf-32"}}})
    made.from_editor(notification("initialized", {}))
    made.from_editor(notification("textDocument/didOpen", {"textDocument": ITEM}))
    return made


def opened(mirror: Mirror) -> list[dict[str, Any]]:
    """The documents that a new daemon is told of."""
    return [m["params"]["textDocument"] for m in mirror.introduction() if m["method"] == "textDocument/didOpen"]


def test_a_new_daemon_hears_the_current_text_and_version(mirror: Mirror) -> None:
    """Not what was opened: what has become of it, counted in the encoding that was agreed on."""
    mirror.from_editor(insertion(2, 0, "😀"))
    mirror.from_editor(insertion(7, 1, "y, "))
    assert opened(mirror) == [{**ITEM, "version": 7, "text": "😀y, x = 1\n"}]


def test_a_closed_document_is_not_told_of(mirror: Mirror) -> None:
    """Nor one whose changes made no sense."""
    mirror.from_editor(notification("textDocument/didClose", {"textDocument": {"uri": ITEM["uri"]}}))
    assert opened(mirror) == []


@pytest.mark.parametrize(
    "bad", [insertion(None, 0, "y"), insertion(2, -1, "y"), notification("textDocument/didChange")]
)
def test_what_can_not_be_followed_is_not_told_of(mirror: Mirror, bad: dict[str, Any]) -> None:
    """Wrong text would be worse than none: to the daemon it is closed. A change of no document changes nothing."""
    told = mirror.from_editor(bad)
    is_of_ours = bad["params"] is not None
    assert (told and told["method"]) == ("textDocument/didClose" if is_of_ours else None)
    assert opened(mirror) == ([] if is_of_ours else [ITEM])


def test_what_was_lost_comes_back_whole(mirror: Mirror) -> None:
    """Pieces of a text that is not known are for nobody; the whole text opens the document again."""
    mirror.from_editor(insertion(2, -1, "y"))
    assert mirror.from_editor(insertion(3, 0, "y")) is None
    whole = insertion(4, 0, "")
    whole["params"]["contentChanges"] = [{"text": "new"}, insertion(4, 3, "!")["params"]["contentChanges"][0]]
    told = mirror.from_editor(whole)
    assert told is not None
    assert told["method"] == "textDocument/didOpen"
    assert told["params"]["textDocument"] == {**ITEM, "version": 4, "text": "new!"}
    assert mirror.from_editor(insertion(5, 0, "y")) is not None


def test_a_document_that_was_lost_can_be_closed_and_opened(mirror: Mirror) -> None:
    """The daemon has heard of its end already."""
    mirror.from_editor(insertion(2, -1, "y"))
    closed = notification("textDocument/didClose", {"textDocument": {"uri": ITEM["uri"]}})
    assert mirror.from_editor(closed) is None
    assert mirror.from_editor(notification("textDocument/didOpen", {"textDocument": ITEM})) is not None
    assert opened(mirror) == [ITEM]


def test_folders_are_those_of_now(mirror: Mirror) -> None:
    """`initialize` is said again with its own id, and everything else as the editor said it."""
    event = {"added": [{"uri": "file:///two", "name": "two"}], "removed": [{"uri": "file:///one"}]}
    mirror.from_editor(notification("workspace/didChangeWorkspaceFolders", {"event": event}))
    again = mirror.initialize_again("shim")
    assert again is not None
    assert (again["id"], again["method"], again["params"]["processId"]) == ("shim", "initialize", 5)
    assert again["params"]["workspaceFolders"] == event["added"]


def test_the_latest_settings_are_told_once(mirror: Mirror) -> None:
    """Between `initialized` and the documents."""
    for number in (1, 2):
        mirror.from_editor(notification("workspace/didChangeConfiguration", {"settings": number}))
    assert [(m["method"], m["params"].get("settings")) for m in mirror.introduction()] == [
        ("initialized", None),
        ("workspace/didChangeConfiguration", 2),
        ("textDocument/didOpen", None),
    ]


def test_before_the_editor_is_ready_there_is_nothing_to_tell() -> None:
    """A daemon that dies so early is simply the first one again."""
    mirror = Mirror()
    assert (list(mirror.introduction()), mirror.initialize_again("shim")) == ([], None)


def test_what_nobody_will_answer_is_answered_empty(mirror: Mirror) -> None:
    """Each once; what was answered before is not answered again."""
    mirror.from_editor(request(2, "textDocument/inlineCompletion"))
    mirror.from_editor(request("three", "workspace/executeCommand"))
    mirror.from_editor(request(4, "textDocument/completion"))
    mirror.from_daemon({"id": 4, "result": {"items": ["real"]}})
    answers = {answer["id"]: answer for answer in mirror.answers_instead("it died")}
    assert answers[2]["result"] == {"items": []}
    assert answers["three"]["error"]["message"] == "it died"
    assert answers.keys() == {2, "three"}
    assert list(mirror.answers_instead("it died")) == []


def test_an_answer_to_a_daemon_that_is_gone_goes_nowhere(mirror: Mirror) -> None:
    """The next daemon has asked nothing."""
    mirror.from_daemon(request("d1", "workspace/applyEdit"))
    mirror.from_daemon(request("d2", "workspace/applyEdit"))
    assert mirror.from_editor({"id": "d1", "result": {"applied": True}})
    assert not mirror.from_editor({"id": "d1", "result": {"applied": True}})
    list(mirror.answers_instead("it died"))
    assert not mirror.from_editor({"id": "d2", "result": {"applied": True}})


def test_shutdown_succeeds_without_a_daemon() -> None:
    """An editor that closes must not be told of an error."""
    assert answer_instead(9, "shutdown", "no daemon") == {"jsonrpc": "2.0", "id": 9, "result": None}
