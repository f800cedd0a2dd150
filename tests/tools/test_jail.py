"""What a confined program can't do: every case starts a real process in the real jail."""

import os
import pty
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_tools import jail
from qcn_tools.sandbox import LAUNCHER_CWD, jailed_argv, launcher_env, protected_paths

Done = subprocess.CompletedProcess[str]
Jailed = Callable[[str], Done]

pytestmark = pytest.mark.usefixtures("jail_required")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A project with a `.git` and a submodule, beside a private state directory and a file of the user's."""
    for name in ("project/src", "project/.git/hooks", "project/vendor/lib", "project/.venv/bin", "state"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("project/top.txt", "project/src/a.py", "project/.git/config", "project/vendor/lib/.git", "mine.txt"):
        (tmp_path / name).write_text("as it was")
    (tmp_path / "state" / "token").write_text("the token")
    (tmp_path / "project" / "link").symlink_to(tmp_path)
    return tmp_path


@pytest.fixture
def jailed(layout: Path) -> Jailed:
    """Runs Python source confined to the project, with the state directory hidden, in the layout's directory."""
    project = layout / "project"

    def run(source: str) -> Done:
        prelude = "import ctypes, os, signal, socket, sys\nfrom pathlib import Path\n"
        argv = (sys.executable, "-I", "-S", "-c", prelude + source)
        env = {"PATH": os.environ["PATH"], "ODD": "naïve=\udcff", "EMPTY": "", "--": "--"}
        full = jailed_argv(
            argv, cwd=layout, env=env, write=[project], protect=protected_paths(project), hide=[layout / "state"]
        )
        return subprocess.run(
            full,
            cwd=LAUNCHER_CWD,
            env=launcher_env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run


ALLOWED = {
    "write a file": "Path('project/src/a.py').write_text('new')",
    "write a file at the top": "Path('project/top.txt').write_text('new')",
    "create in a directory": "Path('project/src/b.py').write_text('new')",
    "rename across directories": "Path('project/vendor/x').mkdir; os.rename('project/src/a.py', 'project/src/c.py')",
    "read the system": "Path('/etc/passwd').read_text()",
    "read what lies beside the hidden": "Path('mine.txt').read_text()",
    "read devices": "[open(f'/dev/{name}', 'rb').read(1) for name in ('null', 'zero', 'urandom')]",
    "read its input by name": "open('/dev/stdin').read()",
    "write to /dev/null": "Path('/dev/null').write_text('x')",
    "use a stream pair": "a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'",
    "start processes": "assert os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)[1] == 0",
    "use shared semaphores": "import _multiprocessing as m; m.SemLock(0, 1, 1, f'/qcn-{os.getpid()}', True)",
    "signal itself": "os.kill(os.getpid(), 0)",
    "see its environment": "assert os.environ['ODD'] == 'naïve=\\udcff' and os.environ['--'] == '--', os.environ",
    "see its empty variables": "assert os.environ['EMPTY'] == ''",
    "start where it was told": "assert os.path.exists('mine.txt')",
}


@pytest.mark.parametrize("source", ALLOWED.values(), ids=ALLOWED)
def test_allowed(jailed: Jailed, source: str) -> None:
    """What tests commonly do still works."""
    done = jailed(source)
    assert (done.returncode, done.stderr) == (0, "")


FORBIDDEN = {
    "write outside": "open('mine.txt', 'w')",
    "append outside": "open('mine.txt', 'a')",
    "create outside": "open('new.txt', 'w')",
    "delete outside": "os.unlink('mine.txt')",
    "rename outside": "os.rename('mine.txt', 'other.txt')",
    "truncate outside": "os.truncate('mine.txt', 0)",
    "mkdir outside": "os.mkdir('new')",
    "write through a link": "open('project/link/mine.txt', 'w')",
    "link in and write": "os.link('mine.txt', 'project/src/mine'); open('project/src/mine', 'w')",
    "move in": "os.rename('mine.txt', 'project/src/mine')",
    "make a device": "os.mknod('project/src/disk', 0o60600, os.makedev(8, 0))",
    "write git's configuration": "open('project/.git/config', 'w')",
    "create a hook": "open('project/.git/hooks/pre-commit', 'w')",
    "link a hook": "os.symlink('/bin/true', 'project/.git/hooks/pre-commit')",
    "move a hook in": "os.rename('project/src/a.py', 'project/.git/hooks/pre-commit')",
    "delete from git": "os.unlink('project/.git/config')",
    "move git away": "os.rename('project/.git', 'project/src/git')",
    "write a submodule's git file": "open('project/vendor/lib/.git', 'w')",
    "replace a submodule's git file": "os.rename('project/src/a.py', 'project/vendor/lib/.git')",
    "write into the environment": "open('project/.venv/bin/python', 'w')",
    "move the environment away": "os.rename('project/.venv', 'project/src/venv')",
    "read the token": "open('state/token').read()",
    "read the token through a link": "open('project/link/state/token').read()",
    "read the token through proc": "open('/proc/self/cwd/state/token').read()",
    "link the token": "os.link('state/token', 'project/src/token'); open('project/src/token').read()",
    "write the state directory": "open('state/new', 'w')",
    "open a TCP socket": "socket.socket(socket.AF_INET)",
    "open a TCP socket over IPv6": "socket.socket(socket.AF_INET6)",
    "open a UDP socket": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "open a Unix socket": "socket.socket(socket.AF_UNIX)",
    "open a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "open a packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "make a datagram pair": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "signal its parent": "os.kill(os.getppid(), 0)",
}


@pytest.mark.parametrize("source", FORBIDDEN.values(), ids=FORBIDDEN)
def test_forbidden(jailed: Jailed, layout: Path, source: str) -> None:
    """It fails with an error of permission, and nothing outside the project or in a `.git` has changed."""
    before = _tree(layout)
    done = jailed(
        f"try:\n    {source}\nexcept OSError as error:\n    assert error.errno in (1, 13, 18), error\n    sys.exit(7)"
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert "the token" not in done.stdout
    assert _tree(layout) == before


def _tree(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize(
    "name",
    [
        "ptrace",
        "process_vm_readv",
        "mount",
        "unshare",
        "setns",
        "keyctl",
        "bpf",
        "userfaultfd",
        "io_uring_setup",
        "reboot",
    ],
)
def test_denied_calls(jailed: Jailed, name: str) -> None:
    """Calls that reach other processes or the kernel's depths fail with EPERM before the kernel looks at them."""
    number = jail._DENIED_CALLS[name][list(jail._AUDIT_ARCH).index(os.uname().machine)]
    done = jailed(
        f"libc = ctypes.CDLL(None, use_errno=True)\nprint(libc.syscall({number}, 0, 0, 0, 0, 0, 0), ctypes.get_errno())"
    )
    assert done.stdout == "-1 1\n"


def test_no_new_user_namespace(jailed: Jailed) -> None:
    """A new user namespace, the usual first step out, can't be made by clone either."""
    call = jail._CLONE[list(jail._AUDIT_ARCH).index(os.uname().machine)]
    done = jailed(
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"result = libc.syscall({call}, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)\n"
        "os._exit(0) if result == 0 else print(result, ctypes.get_errno())"
    )
    assert done.stdout == "-1 1\n"


@pytest.mark.parametrize("mode", [os.O_RDONLY, os.O_WRONLY])
def test_no_terminals(jailed: Jailed, mode: int) -> None:
    """The user's terminals can't be written, which would act on them, nor read, which would take what is typed."""
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", 0), os.fdopen(slave, "rb", 0):
        done = jailed(f"os.open({os.ttyname(slave)!r}, {mode} | os.O_NOCTTY | os.O_NONBLOCK)")
    assert "PermissionError" in done.stderr


@pytest.mark.parametrize("device", ["/dev/tty", "/dev/ptmx", "/dev/tty1", "/dev/console", "/dev/kmsg"])
def test_no_other_devices(jailed: Jailed, device: str) -> None:
    """Of the devices only the harmless ones can be opened, even to read."""
    if not Path(device).exists():
        pytest.skip("not on this machine")
    done = jailed(f"os.open({device!r}, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)")
    assert "PermissionError" in done.stderr


def test_hidden_in_shared_memory(layout: Path) -> None:
    """What is hidden or protected stays so where everything else may be changed, such as /dev/shm."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        token = Path(folder, "token")
        token.write_text("the token")
        for protect, hide, mode in (([], [token], "r"), ([token], [], "w")):
            argv = (sys.executable, "-I", "-S", "-c", f"open({str(token)!r}, {mode!r})")
            full = jailed_argv(argv, cwd=layout, env={}, write=[], protect=protect, hide=hide)
            done = subprocess.run(full, capture_output=True, text=True)
            assert "PermissionError" in done.stderr


def test_no_new_terminals(jailed: Jailed) -> None:
    """The price: a pseudo-terminal can't be made either, and says so."""
    done = jailed("try: os.openpty()\nexcept OSError: sys.exit(7)")
    assert done.returncode == 7


def test_no_connection_to_a_server(jailed: Jailed) -> None:
    """A server that listens on this machine hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        done = jailed(f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))")
        assert "PermissionError" in done.stderr
        with pytest.raises(BlockingIOError):
            server.accept()


def test_another_process_is_unreadable(jailed: Jailed) -> None:
    """The environment and memory of a process outside, such as the daemon, can't be read."""
    for name in ("environ", "mem"):
        done = jailed(f"open('/proc/{os.getpid()}/{name}', 'rb').read(1)")
        assert "PermissionError" in done.stderr


def test_children_are_confined(jailed: Jailed, layout: Path) -> None:
    """The jail holds for whatever the program starts."""
    done = jailed("os.execvp('sh', ['sh', '-c', 'echo x > mine.txt; cat state/token; echo x > project/.git/config'])")
    assert done.stderr.lower().count("permission denied") == 3
    assert (layout / "mine.txt").read_text() == "as it was"


def test_no_new_privileges(jailed: Jailed) -> None:
    """Programs with the set-user-id bit give no rights, and core dumps are off."""
    done = jailed("print(Path('/proc/self/status').read_text()); import resource; print(resource.getrlimit(4))")
    assert "NoNewPrivs:\t1" in done.stdout
    assert "Seccomp:\t2" in done.stdout
    assert "(0, 0)" in done.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["--"], ["--write"], ["--nonsense", "/", "--", "true"], ["--write", "/tmp", "--"]]
)
def test_fails_closed(arguments: list[str]) -> None:
    """A launcher that doesn't understand its orders starts nothing and says so."""
    done = subprocess.run([sys.executable, "-I", "-S", jail.__file__, *arguments], capture_output=True, text=True)
    assert done.returncode == jail.EXIT_JAIL_FAILED
    assert done.stderr.startswith(jail.MESSAGE_PREFIX)


def test_fails_closed_without_landlock(layout: Path) -> None:
    """Where Landlock can't be had (here: denied by a filter from before), the program is not started."""
    started = layout / "started"
    source = (
        "import sys; from qcn_tools import jail\n"
        "jail.landlock_abi = lambda: 0\n"
        f"sys.exit(jail.main(['--', 'touch', {str(started)!r}]))"
    )
    env = {"PYTHONPATH": str(Path(jail.__file__).parents[1]), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True)
    assert (done.returncode, started.exists()) == (jail.EXIT_JAIL_FAILED, False)
    assert "no Landlock" in done.stderr


def test_unknown_program() -> None:
    """A program that does not exist gives 127, like a shell, not the jail's own exit code."""
    for program, cwd, message in (
        ("/no/such/program", "/", "/no/such/program: No such file or directory\n"),
        ("no-such-program", "/", "no-such-program: No such file or directory\n"),
        ("true", "/no/such", "/no/such: No such file or directory\n"),
    ):
        argv = jailed_argv([program], cwd=Path(cwd), env={"PATH": "/usr/bin"}, write=[], protect=[], hide=[])
        done = subprocess.run(argv, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (127, message)


def test_link_in_place_of_git(jailed: Jailed, layout: Path) -> None:
    """A `.git` that is a link to somewhere else can't be replaced by one of the program's own."""
    project = layout / "project"
    (project / ".git").rename(layout / "elsewhere")
    (project / ".git").symlink_to(layout / "elsewhere")
    (project / ".venv" / "bin").rmdir()
    (project / ".venv").rmdir()
    assert "PermissionError" in jailed("os.unlink('project/.git')").stderr
    assert (project / ".git").is_symlink()


def test_protected_environment_costs_new_names_beside_it(jailed: Jailed, layout: Path) -> None:
    """Without git: where `.venv` is protected no new names can be made, but in subdirectories they can."""
    (layout / "project" / ".git").rename(layout / "elsewhere")
    (layout / "project" / "vendor" / "lib" / ".git").unlink()
    new_files = (
        "for path in ('project/new', 'project/src/new'):\n"
        "    try: open(path, 'w').close(); print('yes')\n    except PermissionError: print('no')"
    )
    assert jailed(new_files).stdout.split() == ["no", "yes"]
    (layout / "project" / ".venv").rename(layout / "environment")
    assert jailed(new_files).stdout.split() == ["yes", "yes"]


def test_cover(tmp_path: Path) -> None:
    """A directory is covered as one unless something below it is left out, then by its other entries."""
    for name in ("a/b/secret", "a/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    root = str(tmp_path)
    assert jail.cover(root, []) == [root]
    assert jail.cover(root, [f"{root}/a/b/secret"]) == [f"{root}/a/c", f"{root}/d"]
    assert jail.cover(root, [root]) == []
    assert jail.cover(root, ["/elsewhere", f"{root}x"]) == [root]
    assert f"{root}/d" in jail.cover(root, [f"{root}/no/such"])


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6])
def test_older_kernels(layout: Path, abi: int) -> None:
    """With the rights that older kernels know, files outside still can't be written, emptied or linked in."""
    if abi > jail.landlock_abi():
        pytest.skip("this kernel is older")
    outside, project = layout / "mine.txt", layout / "project"
    source = (
        "import os, sys\n"
        f"for call in (lambda: open({str(outside)!r}, 'w'), lambda: os.truncate({str(outside)!r}, 0),\n"
        f"             lambda: os.link({str(outside)!r}, {str(project / 'src' / 'x')!r}),\n"
        f"             lambda: open({str(layout / 'state' / 'token')!r})):\n"
        "    try: call(); print('done')\n    except OSError: print('denied')\n"
        f"open({str(project / 'src' / 'new')!r}, 'w').write('x'); print('written')"
    )
    launcher = (
        f"import sys; from qcn_tools import jail\njail.landlock_abi = lambda: {abi}\nsys.exit(jail.main(sys.argv[1:]))"
    )
    options = ["--write", str(project), "--hide", str(layout / "state"), "--", sys.executable, "-I", "-S", "-c", source]
    env = {"PYTHONPATH": str(Path(jail.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", launcher, *options], env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["denied"] * 4 + ["written"], done.stderr


names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


@given(existing=st.sets(paths, max_size=8), excluded=st.lists(paths, max_size=3))
def test_cover_is_exact(existing: set[str], excluded: list[str]) -> None:
    """A path is below something in the cover if and only if it exists and is neither excluded nor above an excluded."""
    with tempfile.TemporaryDirectory() as folder:
        for path in existing:
            (Path(folder) / path).mkdir(parents=True, exist_ok=True)
        left_out = [Path(folder) / path for path in excluded]
        covered = [Path(path) for path in jail.cover(folder, [str(path) for path in left_out])]
        for place in Path(folder).rglob("*"):
            below = any(place.is_relative_to(out) for out in left_out)
            above = any(out.is_relative_to(place) for out in left_out)
            assert any(place.is_relative_to(cover) for cover in covered) is not (below or above)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_is_well_formed(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """On either machine: jumps stay inside, every path ends in a verdict, and the last one allows."""
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine=machine))
    for abi in (1, 7):
        program = jail._filter(abi)
        assert program[-1][0] == jail._RETURN
        assert program[-1][3] == jail._RET_ALLOW
        for index, (_, on_true, on_false, _) in enumerate(program):
            assert index + 1 + max(on_true, on_false) <= len(program) - 1 or index == len(program) - 1


def test_unknown_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a filter is refused."""
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine="riscv64"))
    assert not jail.seccomp_supported()
    with pytest.raises(jail.JailError, match="riscv64"):
        jail._filter(7)
