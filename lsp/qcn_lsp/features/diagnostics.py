"""A code action at a diagnostic: the agent fixes it, proves it, and the editor shows the edit before it is made."""

import asyncio
import dataclasses
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lsprotocol import types

from qcn_agent import config, paths
from qcn_agent.agent.events import Emit, RunEvent
from qcn_agent.agent.outcome import Outcome
from qcn_agent.daemon.orders import FixOrder
from qcn_agent.daemon.services import Services
from qcn_agent.errors import QcnError, UsageError
from qcn_lsp.client_options import path_of
from qcn_lsp.documents import Document
from qcn_lsp.edits import MismatchError, workspace_edit
from qcn_lsp.values import answers

if TYPE_CHECKING:
    from qcn_lsp.server import Server

T = TypeVar("T")
Work = Callable[[Emit], Awaitable[T]]

COMMAND = "qcn.fixDiagnostic"
_MAX_TITLE = 60
_SETTLE_S, _POLL_S = 3.0, 0.05
_SAVE = "save your files first: the agent works with what is on disk"


def register(server: "Server", services: Services) -> None:
    """Add the action and its command to `server`."""

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions([types.CodeActionKind.QuickFix]))
    def actions(params: types.CodeActionParams) -> list[types.CodeAction]:
        path = path_of(params.text_document.uri)
        if path is None or not server.options.is_trusted or server.options.folder_of(path) is None:
            return []
        return [_action(params.text_document.uri, diagnostic) for diagnostic in params.context.diagnostics]

    @server.command(COMMAND)
    @answers
    async def fix(order: dict[str, Any]) -> dict[str, Any]:
        path = path_of(order.get("uri"))
        folder = server.options.folder_of(path) if path is not None else None
        if path is None or folder is None or not server.options.is_trusted:
            raise UsageError("this file is in no trusted folder of the workspace", hint="open its folder, and trust it")
        _require_saved(server, folder)
        title = f"fix {str(order.get('message', ''))[:_MAX_TITLE]}"
        fix_order = _fix_order(server, folder, path, order)
        outcome = await _with_progress(server, title, lambda say: services.fix(fix_order, say))
        if outcome is None:
            return {"ending": "cancelled", "reason": "", "applied": False}
        await _settled(server, folder)
        is_applied = await _offer(server, folder, outcome, title)
        return {"ending": outcome.ending, "reason": outcome.reason, "applied": is_applied}


def _action(uri: str, diagnostic: types.Diagnostic) -> types.CodeAction:
    order = {
        "uri": uri,
        "line": diagnostic.range.start.line,
        "message": diagnostic.message,
        "source": diagnostic.source or "",
        "code": str(diagnostic.code) if diagnostic.code is not None else "",
    }
    title = f"Fix with qcn-agent: {diagnostic.message.splitlines()[0][:_MAX_TITLE] if diagnostic.message else '?'}"
    command = types.Command(title, COMMAND, arguments=[order])
    return types.CodeAction(title, kind=types.CodeActionKind.QuickFix, diagnostics=[diagnostic], command=command)


def _fix_order(server: "Server", folder: Path, path: Path, order: Mapping[str, Any]) -> FixOrder:
    settings = config.load(user_file=paths.config_file(), project_file=folder / config.PROJECT_FILE)
    where = f"{path.relative_to(folder).as_posix()}:{int(order.get('line', 0)) + 1}"
    said_by = " ".join(str(order[key]) for key in ("source", "code") if order.get(key))
    issue = f"{where}: {order.get('message', '')}" + (f" ({said_by})" if said_by else "")
    fix = dataclasses.asdict(settings.fix)
    return FixOrder(str(folder), issue, dict(server.options.env), fix, dry_run=True)


def _require_saved(server: "Server", folder: Path) -> None:
    path = _unsaved(server, folder)
    if path is not None:
        raise UsageError(f"{path.relative_to(folder)} is not saved", hint=_SAVE)


def _unsaved(server: "Server", folder: Path) -> Path | None:
    """An open file of the folder that holds something else on disk."""
    opened = ((document, path_of(document.uri)) for document in server.documents)
    inside = ((document, path) for document, path in opened if path is not None and path.is_relative_to(folder))
    return next((path for document, path in inside if not _is_saved(document, path)), None)


def _is_saved(document: Document, path: Path) -> bool:
    """Whether a file holds what the editor has; one that is not UTF-8 only the editor can read, nor can it be fixed."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return True
    except OSError:
        return False
    return text.removesuffix("\n") == document.text.removesuffix("\n")  # editors add the last one when they save


def _on_disk(path: Path) -> str:
    """Empty where there is nothing to read."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


async def _with_progress(server: "Server", title: str, work: Work[T]) -> T | None:
    """What `work` gives, while what it says is shown as the editor's progress. None after its cancel button."""
    if not server.options.shows_progress:
        return await work(lambda event: None)
    token, progress, loop = str(uuid.uuid4()), server.work_done_progress, asyncio.get_running_loop()
    await progress.create_async(token)
    progress.begin(token, types.WorkDoneProgressBegin(title=f"qcn-agent: {title}", cancellable=True))

    def say(event: RunEvent) -> None:
        text = event.data.get("text") or event.kind
        progress.report(token, types.WorkDoneProgressReport(message=str(text)[:120]))

    task = asyncio.ensure_future(work(say))
    button = progress.tokens[token]
    button.add_done_callback(lambda future: future.cancelled() and loop.call_soon_threadsafe(task.cancel))
    try:
        return await task
    except asyncio.CancelledError:
        if button.cancelled():
            return None
        raise
    finally:
        del progress.tokens[token]
        progress.end(token, types.WorkDoneProgressEnd())


async def _settled(server: "Server", folder: Path) -> None:
    """Wait for an editor that follows the disk: it has read what the agent tried, and reads again what was put back."""
    end = time.monotonic() + _SETTLE_S
    while _unsaved(server, folder) is not None and time.monotonic() < end:  # noqa: ASYNC110 - the editor says nothing
        await asyncio.sleep(_POLL_S)


async def _offer(server: "Server", folder: Path, outcome: Outcome, title: str) -> bool:
    """Let the editor make the edit: shown first where it can, and one step to undo."""
    if not outcome.diff:
        _tell(server, types.MessageType.Info, f"no fix was found: {outcome.reason}")
        return False

    def document_of(path: Path) -> Document:
        known = next((document for document in server.documents if path_of(document.uri) == path), None)
        return known or Document(path.as_uri(), "", -1, _on_disk(path))

    label = f"{title} ({outcome.ending})"
    try:
        edit = workspace_edit(
            outcome.diff,
            folder,
            document_of,
            server.documents.position,
            label,
            with_annotations=server.options.annotates_edits,
        )
    except MismatchError as error:
        raise QcnError(str(error), hint="try again") from error
    answer = await server.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit, label))
    return answer.applied


def _tell(server: "Server", kind: types.MessageType, text: str) -> None:
    server.window_show_message(types.ShowMessageParams(kind, f"qcn-agent: {text}"))
