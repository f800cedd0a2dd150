"""Runs what may take long or crash on hostile input in a process of its own: one JSON request in, one answer out."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcn_tools.sandbox import LAUNCHER_CWD, launcher_env


async def call_worker(script: Path, request: Mapping[str, Any], timeout_s: float) -> Any | None:
    """The answer of `script` to `request`; None when it crashed or took too long."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-W", "ignore", str(script)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=LAUNCHER_CWD,
        env=launcher_env(),
    )
    try:
        answer, _ = await asyncio.wait_for(process.communicate(json.dumps(request).encode()), timeout_s)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return json.loads(answer) if process.returncode == 0 and answer else None
