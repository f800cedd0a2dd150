"""A worker process: reads files and answers their records, until its stdin ends.

Parsers run only here. What crashes or hangs one costs one file, because the parent tries it again without a parser.
"""

import gc
import os
import signal
import sys
from pathlib import Path

from qcn_agent.index.files import read_file
from qcn_agent.index.limits import FILE_BUDGET_S, NICENESS
from qcn_agent.index.messages import Answer, Request, Unchanged, frame_of, read_frame
from qcn_agent.index.record import content_hash, make_record
from qcn_agent.index.words import WordSplitter

MAX_MEMORY_BYTES = 2 << 30


def answer(workspace: Path, request: Request, splitter: WordSplitter) -> Answer:
    """One request, answered."""
    path, known_hash, text_only = request
    found = read_file(workspace / path)
    if found is None:
        return None
    stamp, source = found
    if source is not None and known_hash and content_hash(source) == known_hash:
        return Unchanged(path, stamp)
    return make_record(path, stamp, source, splitter, text_only=text_only)


def main() -> None:
    """Answer requests about the workspace that the only argument names."""
    workspace = Path(sys.argv[1])
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a grammar prints is not an answer
    _limit_ourselves()
    gc.disable()  # trees have no cycles, and there is no state to collect
    splitter = WordSplitter()
    while True:
        try:
            request = read_frame(requests)
        except EOFError:
            return
        signal.alarm(FILE_BUDGET_S + 5)  # the parent is quicker, unless it is gone
        frame = frame_of(answer(workspace, request, splitter))
        signal.alarm(0)
        try:
            answers.write(frame)
        except BrokenPipeError:
            return


def _limit_ourselves() -> None:
    """Last in the queue for the processor, and no more memory than a file can need."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass


if __name__ == "__main__":
    main()
