"""What an editor says of itself."""

from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from qcn_lsp.client_options import ClientOptions, path_of


def parameters(**changes: Any) -> types.InitializeParams:
    """Of `initialize`."""
    return types.InitializeParams(**{"capabilities": types.ClientCapabilities(), **changes})


def folders(*uris: str) -> list[types.WorkspaceFolder]:
    """Of a workspace."""
    return [types.WorkspaceFolder(uri, "name") for uri in uris]


def test_an_editor_that_says_little_is_trusted_and_plain() -> None:
    """No folders, no environment, nothing that only newer editors can."""
    assert ClientOptions.of(parameters()) == ClientOptions()
    assert ClientOptions.of(parameters(initialization_options="nonsense")) == ClientOptions()


def test_options_are_taken_as_far_as_they_make_sense() -> None:
    """Only false is no trust; an environment is text."""
    given = {"qcnTrusted": False, "qcnEnv": {"PATH": "/bin", "N": 5}}
    options = ClientOptions.of(parameters(initialization_options=given))
    assert (options.is_trusted, dict(options.env)) == (False, {"PATH": "/bin", "N": "5"})
    assert ClientOptions.of(parameters(initialization_options={"qcnTrusted": "no", "qcnEnv": 5})) == ClientOptions()


def test_folders_are_paths() -> None:
    """The root where there are no folders; others than files are left out."""
    assert ClientOptions.of(parameters(root_uri="file:///a%20b")).folders == (Path("/a b"),)
    several = parameters(root_uri="file:///x", workspace_folders=folders("file:///one", "untitled:two"))
    assert ClientOptions.of(several).folders == (Path("/one"),)


def test_folders_come_and_go() -> None:
    """Each once."""
    options = ClientOptions(folders=(Path("/one"), Path("/two")))
    event = types.WorkspaceFoldersChangeEvent(folders("file:///three", "file:///two"), folders("file:///one"))
    assert options.after(event).folders == (Path("/two"), Path("/three"))


def test_a_file_belongs_to_the_innermost_folder() -> None:
    """Or to none."""
    options = ClientOptions(folders=(Path("/one"), Path("/one/inner")))
    assert options.folder_of(Path("/one/inner/a.py")) == Path("/one/inner")
    assert options.folder_of(Path("/one/a.py")) == Path("/one")
    assert options.folder_of(Path("/onetwo/a.py")) is None


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b%C3%A9.py", Path("/a/bé.py")),
        ("file://localhost/a", Path("/a")),
        ("file://server/a", None),
        ("untitled:a", None),
        ("file:///a%00b", None),
        ("file:a", None),
        (None, None),
    ],
)
def test_a_uri_is_a_path_if_it_is_a_file_here(uri: Any, path: Path | None) -> None:
    """Everything else is no path."""
    assert path_of(uri) == path


def test_a_name_that_is_not_utf_8_survives() -> None:
    """As Python spells it."""
    assert path_of("file:///a%FF") == Path("/a\udcff")
