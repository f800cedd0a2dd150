"""An engine process that aborts inside llama.cpp on demand: what tests run instead of `engine_process`.

QCN_TEST_FAULT: "decode" aborts at a call that reads POISON, after the pipe named by QCN_TEST_GATE (if any) was opened
and closed by somebody; "load" aborts while the model is loaded; "memory" finds no memory for it; "babble" says
what nobody understands, and stays.
"""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qcn_agent.engine import codec, engine_process, llama_cpp, memory
from qcn_agent.engine.backend import Run
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_vocab import LlamaVocab

MODULE = __name__ if __name__ != "__main__" else "tests.engine.faulty_process"
POISON = 4242


def abort(*_: Any) -> None:
    """Fail an assertion of llama.cpp."""
    fail = llama_cpp._ggml_function("ggml_abort", None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
    fail(b"faulty_process.py", 0, b"forced by a test")


def babble() -> None:
    """A message without meaning; then wait for the end."""
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        connection.sendall(codec.pack({"is": "Nonsense"}))
        signal.pause()


def poisonable_decode(backend: LlamaBackend, runs: Sequence[Run]) -> None:
    """The real decode, unless it would read POISON."""
    if any(POISON in run.tokens for run in runs):
        gate = os.environ.get("QCN_TEST_GATE")
        if gate:
            Path(gate).read_bytes()  # blocks until somebody has opened and closed it
        abort()
    real_decode(backend, runs)


real_decode = LlamaBackend.decode

if __name__ == "__main__":
    match os.environ["QCN_TEST_FAULT"]:
        case "decode":
            LlamaBackend.decode = poisonable_decode  # type: ignore[method-assign,assignment]
        case "load":
            LlamaVocab.__init__ = abort  # type: ignore[method-assign,assignment]
        case "memory":
            memory.available_bytes = lambda root=Path("/"): 1 << 20
        case "babble":
            babble()
    engine_process.main()
