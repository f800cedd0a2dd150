"""The binding to llama.cpp: the only file that imports llama_cpp. Low-level API only.

Neighbours take `api` from here. llama.cpp's own log goes to the logger `qcn_agent.engine.llama`, never to stderr.
"""

import ctypes
import functools
import logging
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from llama_cpp import _ggml
from llama_cpp import llama_cpp as _llama_cpp

from qcn_agent.errors import ConfigError

api: Any = _llama_cpp
logger = logging.getLogger("qcn_agent.engine.llama")
logger.addHandler(logging.NullHandler())  # a process that configures no logging stays silent


class _Quick:
    """`api` without letting go of the interpreter during a call.

    Any other call offers it to the threads that wait for it, and may wait 5 ms to have it back. That is right for
    `llama_decode` and wrong for what takes a microsecond.
    """

    def __init__(self) -> None:
        self._library = ctypes.PyDLL(api._lib._name, handle=api._lib._handle)

    def __getattr__(self, name: str) -> Any:
        releasing = getattr(api, name)
        function = getattr(self._library, name)
        function.argtypes, function.restype = releasing.argtypes, releasing.restype
        setattr(self, name, function)
        return function


quick: Any = _Quick()
_LEVELS = {2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}  # its INFO is chatter to us
_CONTINUED = 5
_CPU_DEVICE = 0


@dataclass(frozen=True)
class Device:
    """A device that this build can use. `buffer_type` is an opaque pointer, `buffer_name` what users call it."""

    name: str
    description: str
    is_cpu: bool
    buffer_name: str
    buffer_type: int


class _Log:
    """Turns llama.cpp's log fragments into records, and remembers the latest errors to explain a failure."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=8)
        self._level = logging.DEBUG
        self._open = ""

    def write(self, level: int, text: bytes) -> None:
        if level != _CONTINUED:
            self._level = _LEVELS.get(level, logging.DEBUG)
        if self._level < logging.WARNING and not logger.isEnabledFor(self._level):
            return
        *lines, self._open = (self._open + text.decode("utf-8", errors="replace")).split("\n")
        for line in filter(None, lines):
            logger.log(self._level, "%s", line)
            if self._level >= logging.ERROR:
                self.errors.append(line)


_log = _Log()


_log_callback = api.llama_log_callback(lambda level, text, _user_data: _log.write(level, text))


@functools.cache
def start() -> None:
    """Initialise the library once per process."""
    api.llama_log_set(_log_callback, None)
    api.llama_backend_init()


def forget_errors() -> None:
    """Clear what `latest_errors` returns, before a call that may fail."""
    _log.errors.clear()


def latest_errors() -> str:
    """What llama.cpp logged as errors since `forget_errors`, or ""."""
    return "; ".join(line.strip() for line in _log.errors)


NEVER_ABORT = api.ggml_abort_callback(0)


@functools.cache
def abort_poll() -> Any:
    """The abort callback for a C string: whether it is not empty. It is `strlen` itself.

    llama.cpp calls it once per graph node. A callback in Python would wait for the interpreter thousands of times a
    call, up to 5 ms each while another thread computes; this one never touches it. Lengths 0 and 1 read as a bool.
    """
    library = ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("msvcrt")
    return ctypes.cast(library.strlen, api.ggml_abort_callback)


def build() -> str:
    """Identifies the library: package version and llama.cpp's own."""
    return f"llama-cpp-python {version('llama-cpp-python')}, llama.cpp {api.llama_version().decode()}"


@functools.cache
def devices() -> tuple[Device, ...]:
    """All devices of this build, the CPU included."""
    start()
    return tuple(_devices())


def buffer_type(name: str) -> int:
    """The buffer type called `name`, e.g. CPU or CUDA0. Raises ConfigError listing the known ones."""
    known = {device.buffer_name: device.buffer_type for device in devices()}
    if name not in known:
        raise ConfigError(f"model.override_tensor: no buffer type {name!r}", hint=f"known: {', '.join(known)}")
    return known[name]


def cpu_buffer_type() -> int:
    """The buffer type of ordinary memory."""
    return next(device.buffer_type for device in devices() if device.is_cpu)


def _devices() -> Iterator[Device]:
    get = _ggml_function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    name = _ggml_function("ggml_backend_dev_name", ctypes.c_char_p, ctypes.c_void_p)
    description = _ggml_function("ggml_backend_dev_description", ctypes.c_char_p, ctypes.c_void_p)
    kind = _ggml_function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    buft = _ggml_function("ggml_backend_dev_buffer_type", ctypes.c_void_p, ctypes.c_void_p)
    buft_name = _ggml_function("ggml_backend_buft_name", ctypes.c_char_p, ctypes.c_void_p)
    for index in range(_ggml_function("ggml_backend_dev_count", ctypes.c_size_t)()):
        dev = get(index)
        buffer = buft(dev)
        yield Device(
            name=name(dev).decode(),
            description=description(dev).decode(errors="replace"),
            is_cpu=kind(dev) == _CPU_DEVICE,
            buffer_name=buft_name(buffer).decode(),
            buffer_type=buffer,
        )


def _ggml_function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of ggml's backend registry, which the package loads but does not bind."""
    library = _ggml.libggml
    if not hasattr(library, name):  # where a library handle does not search its dependencies
        library = _ggml.ctypes_ext.load_shared_library("ggml-base", _ggml.libggml_base_path)
    prototype = ctypes.CFUNCTYPE(result, *arguments)
    return prototype((name, library))
