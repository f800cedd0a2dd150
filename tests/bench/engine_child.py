"""Our engine in its own process: `python -m tests.bench.engine_child '{"path": …}'`; JSON lines in, JSON lines out.

Requests go through `Engine.generate`, several at a time. It ends when its standard input is closed.
"""

import asyncio
import contextlib
import dataclasses
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from qcn_agent.benchmark.held import Setup
from qcn_agent.benchmark.local import num_evaluated_prompt_tokens
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Finished, PrefillProgress, TextDelta
from tests.bench.engine_setup import engine_config, engine_request, read_status


def say(message: dict[str, Any]) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def generate(engine: Engine, message: dict[str, Any]) -> dict[str, Any]:
    """Run one request and describe its answer."""
    request = engine_request(
        message["session"],
        message["prompt"],
        message["num_new"],
        tuple(message["boundaries"]),
        is_completion=message["is_completion"],
    )
    begin, first, count = time.perf_counter(), 0.0, 0
    times: list[tuple[float, int]] = []
    chunks: list[float] = []
    async for event in engine.generate(request):
        now = 1e3 * (time.perf_counter() - begin)
        if isinstance(event, PrefillProgress):
            chunks.append(now)
        elif isinstance(event, TextDelta):
            count += len(event.tokens)
            first = first or now
            times.append((now, count))
        elif isinstance(event, Finished):
            usage = event.usage
            return {
                "tokens": event.tokens.tolist(),
                "num_evaluated": num_evaluated_prompt_tokens(usage),
                "num_cached": usage.num_reused_tokens,
                "total_ms": now,
                "first_ms": first or now,
                "steps_waited": getattr(usage, "steps_waited", None),
                "times_ms": times if message["wants_times"] else [],
                "chunks_ms": chunks if message["wants_times"] else [],
            }
    raise RuntimeError("a generation ended without Finished")


async def answer(engine: Engine, message: dict[str, Any]) -> dict[str, Any]:
    """The reply to one message."""
    if message["op"] == "status":
        return dataclasses.asdict(read_status(engine.status()))
    if message["op"] == "encode":
        pieces = [(message["text"], message["special"])]
        return {"tokens": engine.vocabulary.encode(pieces).tolist()}
    return await generate(engine, message)


async def reply(engine: Engine, message: dict[str, Any]) -> None:
    """Answer under the message's number; an error is an answer."""
    try:
        found = await answer(engine, message)
    except Exception as error:  # the border of the process
        found = {"error": repr(error)}
    say({"id": message["id"], **found})


async def serve(engine: Engine) -> None:
    """Until the input ends."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()
    running: set[asyncio.Task[None]] = set()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            for line in sys.stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, "")

    threading.Thread(target=read, daemon=True).start()
    while line := await lines.get():
        task = asyncio.create_task(reply(engine, json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    for task in running:
        task.cancel()


def main() -> None:
    """Load, say so, serve."""
    settings = json.loads(sys.argv[1])
    setup = Setup(Path(settings["path"]), settings["n_ctx"], settings["n_threads"])
    engine = Engine.load(engine_config(setup), setup.path)
    say({"id": 0, "ready": True})
    asyncio.run(serve(engine))
    engine.close()


if __name__ == "__main__":
    main()
