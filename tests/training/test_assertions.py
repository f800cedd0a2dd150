"""What pytest would say, compared with what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from qcn_agent.training import assertions

MODULE = """
def numbers(n):
    return [n, n + 1]

def text(s):
    return s

def flag():
    return 3

def lost(d):
    return d["z"]

def forever():
    while True:
        pass
"""
TESTS = """
import pytest

from pkg.mod import flag, lost, numbers, text

def test_list():
    assert numbers(1) == [1, 3]

def test_text():
    assert text("abc%d") == "abd"

def test_flag():
    assert flag() is True

def test_not():
    assert not flag()

def test_error():
    assert lost({}) == 1

def test_float():
    assert 0.1 * 3 == pytest.approx(0.4)

def test_dict():
    assert {"a": 1, "b": 2} == {"a": 1, "b": 3}

def test_green():
    assert numbers(2) == [2, 3]
"""


def test_messages_are_those_of_a_real_run(tmp_path: Path) -> None:
    """For each red test, the text is what a real pytest prints in its summary of errors."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "mod.py").write_text(MODULE)
    (tmp_path / "test_mod.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "-rf", "-c", "/dev/null"]
    env = {"COLUMNS": "400", "PATH": "/usr/bin:/bin"}
    run = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, env=env)
    printed = dict(re.findall(r"^FAILED \S+::(\w+) - (.*)$", run.stdout, re.MULTILINE))
    outcomes = assertions.run("pkg.mod", MODULE, TESTS)
    ours = {o.name: o.message.splitlines()[0] for o in outcomes if o.message is not None}
    assert printed == ours
    assert [outcome.name for outcome in outcomes if outcome.message is None] == ["test_green"]


def test_details_follow_the_first_line() -> None:
    """Calls are explained, comparisons of lists say where they differ."""
    messages = {outcome.name: outcome.message or "" for outcome in assertions.run("pkg.mod", MODULE, TESTS)}
    assert "+  where 3 = flag()" in messages["test_flag"]
    assert "At index 1 diff: 2 != 3" in messages["test_list"]


def test_an_endless_test_is_an_error() -> None:
    """A test that does not end stops the run."""
    with pytest.raises(assertions.TimedOutError):
        assertions.run("mod", MODULE, "from mod import forever\n\ndef test_it():\n    assert forever()\n")


def test_modules_are_forgotten_afterwards() -> None:
    """Nothing stays importable, and a module of the same name comes back."""
    sys.modules["pkg"] = module = type(sys)("pkg")
    try:
        assertions.run("pkg.mod", MODULE, TESTS)
        assert sys.modules["pkg"] is module
        assert "pkg.mod" not in sys.modules
    finally:
        del sys.modules["pkg"]


def test_this_very_run_keeps_its_own_explanations() -> None:
    """The hooks of the pytest that runs us are put back."""
    assertions.run("pkg.mod", MODULE, TESTS)
    with pytest.raises(AssertionError, match="At index 0 diff"):
        assert [1] == [2]
