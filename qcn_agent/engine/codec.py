"""Values as bytes and back: frozen dataclasses of numbers, text, tuples, mappings and arrays. No pickle.

A message is a head (the lengths of its two parts), JSON, and the bytes of its arrays end to end. The reader names the
type that it expects; a dataclass is written with its name, by which the members of a union are told apart.
"""

import dataclasses
import enum
import functools
import json
import struct
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from qcn_agent.errors import UsageError

HEAD = struct.Struct(">II")  # bytes of JSON, bytes of arrays
_TAG = "is"
_NUMBERS = "biuf"
_ATOMS = frozenset((int, float, str, bool, types.NoneType))

Reader = Callable[[Any, bytes], Any]


def pack(value: Any) -> bytes:
    """One message. Raises UsageError for a value of a kind that can't travel."""
    arrays: list[bytes] = []
    text = _JSON.encode(_plain(value, arrays)).encode()
    return b"".join((HEAD.pack(len(text), sum(map(len, arrays))), text, *arrays))


def unpack(kind: Any, text: bytes, arrays: bytes) -> Any:
    """The value of type `kind` whose two parts these are. Arrays are copies that may be written to."""
    return _reader(kind)(json.loads(text), arrays)


def _plain(value: Any, arrays: list[bytes]) -> Any:
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, tuple | list):
        return [_plain(item, arrays) for item in value]
    if (names := _field_names(kind)) is not None:
        return {_TAG: kind.__name__} | {name: _plain(getattr(value, name), arrays) for name in names}
    if isinstance(value, np.ndarray):
        return _plain_array(value, arrays)
    return dict(value) if isinstance(value, Mapping) else value


@functools.cache
def _field_names(kind: Any) -> tuple[str, ...] | None:
    """Those of a dataclass; None for anything else."""
    return tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def _plain_array(array: "np.ndarray[Any, Any]", arrays: list[bytes]) -> list[Any]:
    if array.dtype.kind not in _NUMBERS:
        raise UsageError(f"an array of {array.dtype} can't be sent to the engine")
    begin = sum(map(len, arrays))
    arrays.append(array.tobytes())
    return [array.dtype.str, array.shape, begin]


def _scalar(value: Any) -> Any:
    """Numbers of numpy are numbers."""
    if isinstance(value, np.generic):
        return value.item()
    raise UsageError(f"{value!r} can't be sent to the engine")


_JSON = json.JSONEncoder(default=_scalar)


@functools.cache
def _reader(kind: Any) -> Reader:
    """What turns JSON into a value of type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _union_reader(arguments)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin is np.ndarray:
        return _read_array
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return lambda plain, _: kind(plain)
    return lambda plain, _: plain


def _union_reader(members: tuple[Any, ...]) -> Reader:
    """Of dataclasses, or of None and one other type."""
    classes = [member for member in members if isinstance(member, type) and dataclasses.is_dataclass(member)]
    tagged = {member.__name__: _reader(member) for member in classes}
    others = [_reader(member) for member in members if member is not types.NoneType]

    def read(plain: Any, arrays: bytes) -> Any:
        if plain is None:
            return None
        reader = tagged[plain[_TAG]] if isinstance(plain, dict) and _TAG in plain else others[0]
        return reader(plain, arrays)

    return read


def _tuple_reader(arguments: tuple[Any, ...]) -> Reader:
    if arguments[-1] is Ellipsis:
        each = _reader(arguments[0])
        return lambda plain, arrays: tuple(each(item, arrays) for item in plain)
    readers = [_reader(argument) for argument in arguments]
    return lambda plain, arrays: tuple(read(item, arrays) for read, item in zip(readers, plain, strict=True))


def _dataclass_reader(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(kind)}
    return lambda plain, arrays: kind(**{name: read(plain[name], arrays) for name, read in readers.items()})


def _read_array(plain: Any, arrays: bytes) -> "np.ndarray[Any, Any]":
    dtype, shape, begin = plain
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(arrays, dtype, count, begin).reshape(shape).copy() if count else np.empty(shape, dtype)
