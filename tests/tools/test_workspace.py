"""Which paths a model may use, and that files are replaced whole."""

import concurrent.futures
import contextlib
import os
import resource
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_tools.base import ChangedMeanwhileError, Observation
from qcn_tools.workspace import AtomicWriter, PathRefused, Workspace, observes_refusals

Make = Callable[[Mapping[str, str]], Workspace]
Git = Callable[..., str]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/passwd", "outside the workspace"),
        ("../outside.txt", "`..`"),
        ("a/../../outside.txt", "`..`"),
        ("/proc/self/root/etc/passwd", "outside the workspace"),
        ("", "empty"),
        ("  ", "empty"),
        ("a\0b", "not a file name"),
        ("\ud800", "not a file name"),
        ("x" * 300, "too long"),
        ("a/" * 3000, "too long"),
        (".git/config", "git's own"),
        (".git", "git's own"),
        (".GIT/hooks/pre-commit", "git's own"),
        (".g\u200cit/config", "git's own"),
        ("sub/.git/config", "git's own"),
        ("git~1/config", "git's own"),
    ],
)
def test_refused_paths(workspace: Workspace, path: str, reason: str) -> None:
    """Paths that lead out, into a `.git`, or that are no file names are refused with a reason."""
    with pytest.raises(PathRefused) as refusal:
        workspace.resolve(path)
    assert reason in refusal.value.reason


@pytest.mark.parametrize("mode", [0o444, 0o400, 0o464])
def test_read_only_file(make: Make, mode: int) -> None:
    """A file whose owner took away the right to write is not written, though renaming would get around it."""
    workspace = make({"a.py": "x"})
    (workspace.root / "a.py").chmod(mode)

    assert workspace.resolve("a.py").is_file()
    with pytest.raises(PathRefused, match="it is read-only"):
        workspace.resolve("a.py", write=True)
    with pytest.raises(PathRefused, match="it is read-only"):
        AtomicWriter(workspace.root).write(workspace.root / "a.py", b"y", b"x")
    (workspace.root / "a.py").chmod(0o644)
    assert workspace.resolve("a.py", write=True).is_file()


def test_read_only_directory(make: Make) -> None:
    """Nor is anything changed or made in a directory that may not be written."""
    workspace = make({"src/a.py": "x"})
    (workspace.root / "src").chmod(0o555)

    for path in ("src/a.py", "src/new.py", "src/below/new.py"):
        with pytest.raises(PathRefused, match="its directory is read-only"):
            workspace.resolve(path, write=True)
    assert workspace.resolve("other/new.py", write=True).name == "new.py"
    (workspace.root / "src").chmod(0o755)


def test_plain_paths(make: Make) -> None:
    """Relative paths, absolute ones inside the root, and files that don't exist yet are accepted."""
    workspace = make({"src/a.py": "x"})
    inside = workspace.root / "src" / "a.py"
    assert workspace.resolve("src/a.py") == workspace.resolve("./src//a.py") == inside
    assert workspace.resolve(str(inside)) == inside
    assert workspace.relative(workspace.resolve("new/b.py")) == "new/b.py"
    assert workspace.relative(workspace.resolve(".")) == "."
    assert workspace.resolve("src/.gitignore") == workspace.root / "src" / ".gitignore"


def test_root_behind_a_link(root: Path, tmp_path: Path) -> None:
    """An absolute path through a link to the root means the same file as without it."""
    (root / "a").write_text("x")
    link = tmp_path / "link"
    link.symlink_to(root)
    assert Workspace(link).resolve(str(link / "a")) == root / "a"


def test_links_that_lead_out(workspace: Workspace, outside: Path) -> None:
    """A linked file or directory outside is refused, through however many links."""
    (workspace.root / "file").symlink_to(outside)
    (workspace.root / "directory").symlink_to(outside.parent)
    (workspace.root / "chain").symlink_to("file")
    (workspace.root / "root").symlink_to("/proc/self/root")
    (workspace.root / "up").symlink_to("..")
    for path in ("file", "directory/outside.txt", "chain", "root/etc/passwd", "up/outside.txt"):
        with pytest.raises(PathRefused, match="symbolic link"):
            workspace.resolve(path)


def test_link_into_git(make: Make) -> None:
    """A link to git's files is refused although they are inside."""
    workspace = make({".git/config": "x"})
    (workspace.root / "innocent").symlink_to(".git/config")
    with pytest.raises(PathRefused, match="git's own"):
        workspace.resolve("innocent")


def test_links_that_stay_inside(make: Make) -> None:
    """A link that stays inside means its target; a loop of links is refused."""
    workspace = make({"real/a.py": "x"})
    (workspace.root / "alias").symlink_to("real")
    (workspace.root / "loop").symlink_to("loop")
    assert workspace.resolve("alias/a.py") == workspace.root / "real" / "a.py"
    with pytest.raises(PathRefused):
        workspace.resolve("loop")


def test_special_files(workspace: Workspace) -> None:
    """FIFOs, sockets and devices are refused, without waiting for a writer."""
    os.mkfifo(workspace.root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(workspace.root / "socket"))
    for name in ("fifo", "socket"):
        with pytest.raises(PathRefused, match="neither"):
            workspace.resolve(name)
    with pytest.raises(PathRefused, match="not a regular file"):
        workspace.read_bytes(workspace.root / "fifo")


def test_own_settings_are_read_only(make: Make) -> None:
    """The project's settings of this program can be read but not written."""
    workspace = make({"qcn-agent.toml": "x"})
    assert workspace.resolve("qcn-agent.toml").exists()
    with pytest.raises(PathRefused, match="configures"):
        workspace.resolve("qcn-agent.toml", write=True)


@pytest.mark.parametrize(
    "path",
    [
        ".venv/bin/python",
        ".VENV/new",
        "part/.venv/x",
        "venv/new",
        "lib/site-packages/evil.pth",
        "env/lib/a.py",
        "env/pyvenv.cfg",
        "alias/lib/a.py",
        "conda/x",
    ],
)
def test_environments_are_read_only(make: Make, path: str) -> None:
    """What is installed can be read but not written, by whatever name or link it is reached."""
    workspace = make({"env/pyvenv.cfg": "", "env/lib/a.py": "", "conda/conda-meta/x": ""})
    (workspace.root / "alias").symlink_to("env")
    workspace.resolve(path)
    with pytest.raises(PathRefused, match="installed"):
        workspace.resolve(path, write=True)


@pytest.mark.parametrize("path", ["src/venv/cli.py", "env.py", "venvs.py", "packages/site.py", "a.py"])
def test_what_only_looks_like_an_environment(make: Make, path: str) -> None:
    """Source with a similar name can be written, also where the workspace itself is an environment."""
    workspace = make({"pyvenv.cfg": "", "env.py": ""})
    assert workspace.resolve(path, write=True) == workspace.root / path


def test_git_of_the_repository(make: Make, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called `git` that the repository brings along is not run, wherever PATH points."""
    workspace = make({"git": "#!/bin/sh\ntouch ran\n", "bin/git": "#!/bin/sh\ntouch ran\n"})
    for name in ("git", "bin/git"):
        (workspace.root / name).chmod(0o755)
    git("init", "-q")
    monkeypatch.setenv("PATH", f":.:{workspace.root}/bin:{os.environ['PATH']}")
    monkeypatch.chdir(workspace.root)
    assert workspace.files() == ["bin/git", "git"]
    assert not list(workspace.root.rglob("ran"))


def test_swap_between_check_and_use(make: Make, outside: Path) -> None:
    """A file or directory that becomes a link after it was checked is not followed."""
    workspace = make({"a.py": "x", "d/b.py": "x"})
    file, below = workspace.resolve("a.py"), workspace.resolve("d/outside.txt")
    file.unlink()
    file.symlink_to(outside)
    (workspace.root / "d" / "b.py").unlink()
    (workspace.root / "d").rmdir()
    (workspace.root / "d").symlink_to(outside.parent)
    for path in (file, below):
        with pytest.raises(PathRefused):
            workspace.read_bytes(path)


def test_read_limit(make: Make) -> None:
    """A file larger than the limit is refused with its size; one of exactly the limit is read."""
    workspace = make({"a": "x" * 100})
    assert workspace.read_bytes(workspace.root / "a", 100) == b"x" * 100
    with pytest.raises(PathRefused, match="99"):
        workspace.read_bytes(workspace.root / "a", 99)


def test_fifty_megabytes(workspace: Workspace) -> None:
    """A file of 50 MB is refused by the default limit without being read."""
    with (workspace.root / "big").open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(PathRefused, match="50,000,000"):
        workspace.read_bytes(workspace.resolve("big"))


def test_files_with_git(make: Make, git: Git) -> None:
    """With git: tracked files and new ones that are not ignored, no links, nothing that was deleted."""
    workspace = make({"a.py": "", "b/c.py": "", "gone.py": "", ".gitignore": "*.log\n", "x.log": ""})
    git("init", "-q")
    git("add", "a.py", "gone.py")
    (workspace.root / "gone.py").unlink()
    (workspace.root / "link.py").symlink_to("a.py")
    assert workspace.files() == [".gitignore", "a.py", "b/c.py"]


def test_files_without_git(make: Make) -> None:
    """Without git: all files but those in directories of generated things."""
    workspace = make({"a.py": "", ".venv/x.py": "", "node_modules/y.js": "", "b/__pycache__/z.pyc": "", "b/d.py": ""})
    assert workspace.files() == ["a.py", "b/d.py"]


def test_files_leave_out_undecodable_names(workspace: Workspace) -> None:
    """Names that are not UTF-8 are left out, as no model can write them."""
    (workspace.root / os.fsdecode(b"caf\xe9")).write_text("x")
    (workspace.root / "ok").write_text("x")
    assert workspace.files() == ["ok"]


def test_hostile_git_configuration(make: Make, git: Git) -> None:
    """A file monitor that the repository names is not run by listing files."""
    workspace = make({"a.py": "", "evil.sh": "#!/bin/sh\ntouch ran\n"})
    (workspace.root / "evil.sh").chmod(0o755)
    git("init", "-q")
    git("config", "core.fsmonitor", str(workspace.root / "evil.sh"))
    assert "a.py" in workspace.files()
    assert not (workspace.root / "ran").exists()


def test_nearest(make: Make) -> None:
    """The same name elsewhere comes first, then similar spellings; nothing similar gives nothing."""
    workspace = make({"src/pkg/parser.py": "", "src/pkg/printer.py": "", "README.md": ""})
    assert workspace.nearest("parser.py")[0] == "src/pkg/parser.py"
    assert workspace.nearest("src/pkg/paser.py")[0] == "src/pkg/parser.py"
    assert workspace.nearest("zzzzzz") == ()


def test_write_creates_and_keeps_mode(workspace: Workspace, writer: AtomicWriter) -> None:
    """Directories are made as needed, mode bits survive, and no temporary file is left."""
    path = workspace.root / "bin" / "tool"
    writer.write(path, b"one", None)
    path.chmod(0o755)
    writer.write(path, b"two", b"one")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert [p.name for p in path.parent.iterdir()] == ["tool"]


def test_write_outside(workspace: Workspace, writer: AtomicWriter, outside: Path) -> None:
    """The writer itself refuses what the workspace refuses, so no tool can forget to ask."""
    (workspace.root / "d").symlink_to(outside.parent)
    for path in (outside, workspace.root / "d" / "outside.txt", workspace.root / ".git" / "config"):
        with pytest.raises(PathRefused):
            writer.write(path, b"x", None)
    assert outside.read_text() == "secret"


def test_write_breaks_hard_links(workspace: Workspace, writer: AtomicWriter, outside: Path) -> None:
    """Writing through a hard link leaves the file's other name, outside, as it was."""
    os.link(outside, workspace.root / "twin")
    writer.write(workspace.root / "twin", b"changed", b"secret")
    assert outside.read_text() == "secret"


def test_failed_write_changes_nothing(workspace: Workspace, writer: AtomicWriter) -> None:
    """When the file can't be replaced, nothing changes and no temporary file is left."""
    (workspace.root / "a").write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            writer.write(workspace.root / "a", b"x" * 11, b"old")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name: path.read_bytes() for path in workspace.root.iterdir()} == {"a": b"old"}


@pytest.mark.parametrize("expected", [None, b"", b"old", b"ol", b"old and more"])
@pytest.mark.parametrize("now", [None, b"", b"old", b"theirs"])
def test_write_is_based_on_what_is_there(
    workspace: Workspace, writer: AtomicWriter, expected: bytes | None, now: bytes | None
) -> None:
    """Only a file that holds exactly the expected bytes, or that does not exist where none is expected, is written."""
    path = workspace.root / "a"
    if now is not None:
        path.write_bytes(now)
    with contextlib.nullcontext() if now == expected else pytest.raises(ChangedMeanwhileError):
        writer.write(path, b"ours", expected)
    assert (path.read_bytes() if path.exists() else None) == (b"ours" if now == expected else now)
    assert {p.name for p in workspace.root.iterdir()} <= {"a"}


def test_write_over_what_is_no_file(workspace: Workspace, writer: AtomicWriter) -> None:
    """A directory that took the place of a file is not what the change is based on."""
    (workspace.root / "d").mkdir()
    for expected in (None, b"", b"x"):
        with pytest.raises(ChangedMeanwhileError):
            writer.write(workspace.root / "d", b"x", expected)
    assert [p.name for p in workspace.root.iterdir()] == ["d"]


async def test_refusals_become_observations() -> None:
    """A tool that meets a refusal or an error of the file system answers with an observation."""

    class Tool:
        @observes_refusals
        async def run(self, arguments: object) -> Observation:
            raise PermissionError(13, "Permission denied")

    answer = await Tool().run({"path": "a"})
    assert (answer.kind, answer.ok, answer.fields["reason"]) == ("refused", False, "Permission denied")


parts = st.sampled_from(
    ["..", ".", "", "a", "d", "out", "up", "loop", ".git", "root", "x y", "\u200c", "~", "proc", "*"]
)


@given(st.lists(parts, max_size=6).map("/".join) | st.text(max_size=20))
def test_whatever_is_accepted_lies_inside(hostile_tree: Workspace, path: str) -> None:
    """Any text is either refused or means a path inside, outside every `.git`, that no link leads away from."""
    try:
        found = hostile_tree.resolve(path)
    except PathRefused:
        return
    assert found.is_relative_to(hostile_tree.root)
    assert ".git" not in found.relative_to(hostile_tree.root).parts
    assert found.resolve() == found


@pytest.fixture(scope="module")
def hostile_tree(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace full of links that lead everywhere."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "d").mkdir()
    (root / ".git").mkdir()
    for place in (root, root / "d"):
        for name, target in (
            ("out", "/etc"),
            ("up", ".."),
            ("loop", "loop"),
            ("root", "/proc/self/root"),
            ("a", ".git"),
        ):
            (place / name).symlink_to(target)
    return Workspace(root)


def test_workspace_below_the_root_of_a_repository(root: Path, git: Git) -> None:
    """A workspace may be a part of a repository: only its own files are listed, relative to it."""
    git("init", "-q")
    for name in ("a.py", "part/b.py", "part/deep/c.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    assert Workspace(root / "part").files() == ["b.py", "deep/c.py"]


def test_readers_see_old_or_new(workspace: Workspace, writer: AtomicWriter) -> None:
    """While a file is replaced over and over, a reader never sees a part of it or none at all."""
    path = workspace.root / "a"
    versions = {b"x" * 100_000, b"y" * 200_000}
    writer.write(path, min(versions), None)
    old, new = sorted(versions)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = [pool.submit(writer.write, path, *change) for change in [(new, old), (old, new)] * 20]
        while not all(write.done() for write in writing):
            assert path.read_bytes() in versions
    assert [write.exception() for write in writing] == [None] * len(writing)
