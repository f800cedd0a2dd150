"""Stack frames of each format."""

import pytest

from qcn_agent.context.frames import Frame, frames_in

PYTHON = (
    'Traceback (most recent call last):\n  File "/usr/lib/python3/site-packages/net/retry.py", line 12, in increment\n'
)
CASES = {
    PYTHON: Frame("/usr/lib/python3/site-packages/net/retry.py", 12, "increment"),
    "    at Object.<anonymous> (/home/me/app/index.js:10:15)": Frame("/home/me/app/index.js", 10, "anonymous"),
    "    at async Server.run (file:///a/b/server.mjs:3:1)": Frame("/a/b/server.mjs", 3, "run"),
    "at save [as _save] (webpack://src/store.ts:7:9)": Frame("src/store.ts", 7, "save"),
    "\tat com.example.net.Bar.baz(Bar.java:42)": Frame("Bar.java", 42, "baz"),
    "main.(*Server).Serve(0xc000, 0x1)\n\t/home/me/server.go:88 +0x1d": Frame("/home/me/server.go", 88, "Serve"),
    "   3: mycrate::parser::parse\n             at ./src/parser.rs:44:9": Frame("./src/parser.rs", 44, "parse"),
    "  11:  0x55d0 - a::b::run::h0123456789abcdef\n      at src/b.rs:4": Frame("src/b.rs", 4, "run"),
    "#2  0x00007f in do_thing (a=1, b=0x0) at lib/thing.c:77": Frame("lib/thing.c", 77, "do_thing"),
    "tests/test_x.py:12: AssertionError": Frame("tests/test_x.py", 12, ""),
    "thread 'main' panicked at src/main.rs:4:5:": Frame("src/main.rs", 4, ""),
    r"see C:\app\store\db.py:7": Frame("C:/app/store/db.py", 7, ""),
}


@pytest.mark.parametrize("text", CASES)
def test_a_frame_is_read(text: str) -> None:
    """Path with slashes, line, the bare name of the function."""
    assert frames_in(text) == (CASES[text],)


def test_frames_keep_their_order_and_come_once() -> None:
    """The formats don't hide each other, and a repeated frame is one."""
    text = PYTHON + "a/first.py:3: error\n" + PYTHON + "b/second.go:4"

    paths = [frame.path.rpartition("/")[2] for frame in frames_in(text)]

    assert paths == ["retry.py", "first.py", "second.go"]


@pytest.mark.parametrize(
    "text", ["", "at noon: 12:30", "https://example.org:8080/x", "a ratio of 3.5:1", "File x, line 3"]
)
def test_what_is_no_frame_is_none(text: str) -> None:
    """Times, ports and ratios."""
    assert frames_in(text) == ()
