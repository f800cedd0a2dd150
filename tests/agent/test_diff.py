"""The patch: made from the bytes as found, applicable with git."""

import subprocess
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from qcn_agent.agent.diff import unified_diff

TEXT = st.text(st.sampled_from("ab \n\x0c\r\u2028"), max_size=30)


def test_unchanged_files_are_left_out(tmp_path: Path) -> None:
    """A file that was changed and changed back is no patch."""
    (tmp_path / "a").write_bytes(b"x\n")

    assert unified_diff(tmp_path, {"a": b"x\n"}) == ""


def test_new_and_deleted_files_are_shown(tmp_path: Path) -> None:
    """They come from or go to /dev/null."""
    (tmp_path / "new").write_bytes(b"x\n")

    text = unified_diff(tmp_path, {"new": None, "gone": b"y\n"})

    assert "--- /dev/null\n+++ b/new\n" in text
    assert "--- a/gone\n+++ /dev/null\n" in text


def test_missing_newline_at_the_end_is_said(tmp_path: Path) -> None:
    """As diff does it."""
    (tmp_path / "a").write_bytes(b"x")

    assert "\\ No newline at end of file" in unified_diff(tmp_path, {"a": b"x\n"})


@given(TEXT, TEXT)
@settings(deadline=None, max_examples=60)
def test_git_applies_it(before: str, after: str) -> None:
    """Form feeds, carriage returns and line separators stay inside their lines."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "f").write_bytes(after.encode())
        patch = unified_diff(root, {"f": before.encode()})
        (root / "f").write_bytes(before.encode())
        if patch:
            command = ["git", "apply", "--whitespace=nowarn", "-"]
            subprocess.run(command, cwd=root, input=patch.encode(), check=True, capture_output=True)
        assert (root / "f").read_bytes() == after.encode()
