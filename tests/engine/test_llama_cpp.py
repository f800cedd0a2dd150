"""The binding names devices and buffer types, and turns llama.cpp's log fragments into records."""

import ctypes
import logging

import pytest

from qcn_agent.engine import llama_cpp
from qcn_agent.errors import ConfigError


def test_the_cpu_is_a_device_with_a_buffer_type() -> None:
    """Exactly one device is the CPU, and its buffer type is found by name."""
    (cpu,) = [device for device in llama_cpp.devices() if device.is_cpu]
    assert cpu.buffer_name == "CPU"
    assert llama_cpp.buffer_type("CPU") == llama_cpp.cpu_buffer_type() == cpu.buffer_type != 0


def test_an_unknown_buffer_type_is_a_config_error() -> None:
    """The hint lists what there is."""
    with pytest.raises(ConfigError) as caught:
        llama_cpp.buffer_type("VRAM")
    assert caught.value.hint.startswith("known: ")


def test_the_build_is_identified() -> None:
    """Package and library versions: the engine depends on details of both."""
    assert "llama-cpp-python 0.3." in llama_cpp.build()
    assert "llama.cpp" in llama_cpp.build()


def test_fragments_become_lines_at_the_right_level(caplog: pytest.LogCaptureFixture) -> None:
    """A continuation keeps the level of its beginning; an unfinished line waits."""
    log = llama_cpp._Log()
    with caplog.at_level(logging.DEBUG, logger="qcn_agent.engine.llama"):
        log.write(3, b"half a ")
        log.write(5, b"warning\nand ")
        log.write(4, b"an error\n")
        log.write(2, "größe\n".encode())
        log.write(2, b"\xff\n")
    lines = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert lines == [
        (logging.WARNING, "half a warning"),
        (logging.ERROR, "and an error"),
        (logging.DEBUG, "größe"),
        (logging.DEBUG, "\ufffd"),
    ]
    assert list(log.errors) == ["and an error"]


def test_chatter_is_not_even_assembled_when_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    """Below the logger's level nothing is kept."""
    log = llama_cpp._Log()
    with caplog.at_level(logging.WARNING, logger="qcn_agent.engine.llama"):
        log.write(2, b"chatter\n")
        log.write(5, b"more\n")
    assert not caplog.records


def test_only_recent_errors_are_kept() -> None:
    """A flood of errors does not grow without bound."""
    log = llama_cpp._Log()
    for number in range(100):
        log.write(4, f"error {number}\n".encode())
    assert len(log.errors) == 8
    assert log.errors[-1] == "error 99"


def test_quick_calls_keep_the_interpreter() -> None:
    """They are the same functions with the same signature, but for that."""
    keeps = ctypes.PyDLL._func_flags_
    assert llama_cpp.quick.llama_version() == llama_cpp.api.llama_version()
    for name in ("llama_sampler_sample", "llama_sampler_accept", "llama_vocab_is_eog"):
        quick, releasing = getattr(llama_cpp.quick, name), getattr(llama_cpp.api, name)
        assert (quick.argtypes, quick.restype) == (releasing.argtypes, releasing.restype)
        assert type(quick)._flags_ == keeps != type(releasing)._flags_
