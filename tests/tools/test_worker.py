"""Calling a worker process."""

import asyncio
import os
from pathlib import Path

import pytest

from qcn_tools.worker import call_worker


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("import json, sys; json.dump(json.load(sys.stdin)['x'] * 2, sys.stdout)", "é\udce9é\udce9"),
        ("import sys; sys.exit(1)", None),
        ("import os; os.abort()", None),
        ("", None),
    ],
)
async def test_answers(tmp_path: Path, source: str, answer: str | None) -> None:
    """A worker's answer comes back, odd characters too; a crash is no answer."""
    script = tmp_path / "worker.py"
    script.write_text(source)
    assert await call_worker(script, {"x": "é\udce9"}, 10) == answer


@pytest.fixture
def sleeper(tmp_path: Path) -> Path:
    """A worker that says its process id through the FIFO `pid` beside it and then sleeps."""
    os.mkfifo(tmp_path / "pid")
    script = tmp_path / "worker.py"
    script.write_text(f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")
    return script


async def test_timeout(sleeper: Path) -> None:
    """A worker that takes too long is killed, and that is no answer."""
    call = asyncio.create_task(call_worker(sleeper, {}, 2))
    pid = await asyncio.to_thread((sleeper.parent / "pid").read_text)
    assert await call is None
    assert not Path(f"/proc/{pid}").exists()


async def test_cancel(sleeper: Path) -> None:
    """A worker that is no longer wanted is killed."""
    call = asyncio.create_task(call_worker(sleeper, {}, 600))
    pid = await asyncio.to_thread((sleeper.parent / "pid").read_text)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not Path(f"/proc/{pid}").exists()
