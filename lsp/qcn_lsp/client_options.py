"""What an editor says of itself with `initialize`, beyond LSP."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from lsprotocol import types

ENV = "qcnEnv"  # the shim puts it in: the environment that commands of this editor's projects may see
TRUSTED = "qcnTrusted"  # false: the editor's user does not trust these folders; nothing of them is run


@dataclass(frozen=True)
class ClientOptions:
    """`folders`: roots of the workspace, absolute."""

    folders: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    is_trusted: bool = True
    shows_progress: bool = False
    annotates_edits: bool = False
    shows_inline_completion: bool = False

    @classmethod
    def of(cls, params: types.InitializeParams) -> "ClientOptions":
        """From the parameters of `initialize`."""
        given = params.initialization_options
        options = given if isinstance(given, Mapping) else {}
        env = options.get(ENV)
        uris = [folder.uri for folder in params.workspace_folders or ()] or [params.root_uri or ""]
        window, workspace = params.capabilities.window, params.capabilities.workspace
        edit, text = workspace.workspace_edit if workspace else None, params.capabilities.text_document
        return cls(
            folders=tuple(path for path in map(path_of, uris) if path is not None),
            env={str(key): str(value) for key, value in env.items()} if isinstance(env, Mapping) else {},
            is_trusted=options.get(TRUSTED) is not False,
            shows_progress=bool(window and window.work_done_progress),
            shows_inline_completion=bool(text and text.inline_completion),
            annotates_edits=bool(edit and edit.document_changes and edit.change_annotation_support),
        )

    def after(self, event: types.WorkspaceFoldersChangeEvent) -> "ClientOptions":
        """The same with the folders that are open now."""
        removed = {path_of(folder.uri) for folder in event.removed}
        added = (path_of(folder.uri) for folder in event.added)
        kept = [folder for folder in self.folders if folder not in removed]
        new = [folder for folder in added if folder is not None and folder not in kept]
        return replace(self, folders=(*kept, *new))

    def folder_of(self, path: Path) -> Path | None:
        """The innermost folder of the workspace that holds a file."""
        holding = [folder for folder in self.folders if path.is_relative_to(folder)]
        return max(holding, key=lambda folder: len(folder.parts), default=None)


def path_of(uri: Any) -> Path | None:
    """The absolute path of a file's URI; None for other schemes."""
    parts = urlparse(uri) if isinstance(uri, str) else None
    if parts is None or parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    path = Path(unquote(parts.path, errors="surrogateescape"))
    return path if path.is_absolute() and "\0" not in parts.path and "%00" not in parts.path else None
