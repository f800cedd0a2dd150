"""Reads the header of a GGUF file: metadata and tensor table, never tensor data.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every count and length in the file is checked
against the bytes that are really there before it is used, so a hostile file costs an error and no memory.
"""

import hashlib
import mmap
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.errors import ModelFormatError, ModelNotFoundError

Scalar = int | float | bool | str

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_UNPACKERS = {kind: struct.Struct("<" + code) for kind, code in _SCALARS.items()}
_STRING, _ARRAY = 8, 9
_SMALL_ARRAY = 1024  # longer arrays (vocabularies) are kept as a length
_MAX_DIMS = 4
_SPLIT_NAME = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")

# (elements, bytes) of one block of each ggml tensor type
_BLOCKS = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292)},
    **{16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82)},
    **{23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2)},
    **{34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18)},
}


@dataclass(frozen=True)
class ArrayLength:
    """A metadata array too long to keep: only its number of elements."""

    length: int


Value = Scalar | tuple[Scalar, ...] | ArrayLength


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: ggml `type` number, `offset` in bytes from the start of the data section."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def num_bytes(self) -> int:
        """Size of the data; 0 for a type this table does not know."""
        block, size = _BLOCKS.get(self.type, (1, 0))
        rows = 1
        for extent in self.shape[1:]:
            rows *= extent
        return -(-self.shape[0] // block) * size * rows if self.shape else size


@dataclass(frozen=True)
class GGUFHeader:
    """What stands before the tensor data. `data_offset` and `data_bytes` say where the data lies and its full size."""

    path: Path
    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    digest: str  # SHA-256 of the header bytes, hexadecimal

    @property
    def architecture(self) -> str:
        """`general.architecture`, or "" when there is none (all parts of a split but the first)."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def data_bytes(self) -> int:
        """Bytes from the start of the data section to the end of its last tensor."""
        return max((tensor.offset + tensor.num_bytes for tensor in self.tensors), default=0)

    @property
    def split_count(self) -> int:
        """Number of files of the model; 1 when it is whole."""
        return max(1, self.integer("split.count", 1))

    @property
    def split_no(self) -> int:
        """Index of this file among the parts, from 0."""
        return self.integer("split.no", 0)

    @property
    def scalars(self) -> dict[str, str]:
        """The metadata that are not arrays, as text."""
        return {key: str(value) for key, value in self.metadata.items() if isinstance(value, bool | int | float | str)}

    def integer(self, key: str, default: int = 0) -> int:
        """A whole-number metadata value; `default` when it is absent or of another type."""
        value = self.metadata.get(key, default)
        return value if isinstance(value, int) and not isinstance(value, bool) else default


class _Reader:
    """A cursor over the mapped file. Each read is bounded by the bytes that are left."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.position = 0

    def need(self, num_bytes: int, what: str) -> None:
        if num_bytes > len(self.data) - self.position:
            raise _damaged(self.path, f"the header ends inside {what}")

    def scalar(self, kind: int, what: str) -> Scalar:
        unpacker = _UNPACKERS[kind]
        self.need(unpacker.size, what)
        value: Scalar = unpacker.unpack_from(self.data, self.position)[0]
        self.position += unpacker.size
        return value

    def number(self, what: str, kind: int = 10) -> int:
        return int(self.scalar(kind, what))

    def count(self, what: str, min_bytes: int) -> int:
        """A number of items of at least `min_bytes` each, all of which must still fit into the file."""
        count = self.number(f"the number of {what}")
        if count * min_bytes > len(self.data) - self.position:
            raise _damaged(self.path, f"{count} {what} can't fit into the file")
        return count

    def text(self, what: str) -> str:
        length = self.number(what)
        self.need(length, what)
        raw = self.data[self.position : self.position + length]
        self.position += length
        return raw.decode("utf-8", errors="replace")

    def skip_texts(self, count: int, what: str) -> None:
        unpack, data, position, end = _UNPACKERS[10].unpack_from, self.data, self.position, len(self.data)
        for _ in range(count):
            if position + 8 > end:
                break
            position += 8 + unpack(data, position)[0]
        self.position = min(position, end)
        self.need(position - self.position, what)

    def value(self, kind: int, key: str) -> Value:
        if kind == _STRING:
            return self.text(key)
        if kind == _ARRAY:
            return self.array(key)
        if kind not in _UNPACKERS:
            raise _damaged(self.path, f"metadata {key!r} has the unknown type {kind}")
        return self.scalar(kind, key)

    def array(self, key: str) -> Value:
        kind = self.number(key, kind=4)
        if kind != _STRING and kind not in _UNPACKERS:
            raise _damaged(self.path, f"metadata {key!r} is an array of the unknown type {kind}")
        size = 8 if kind == _STRING else _UNPACKERS[kind].size
        count = self.count(f"elements of {key!r}", size)
        if count <= _SMALL_ARRAY:
            return tuple(self.text(key) if kind == _STRING else self.scalar(kind, key) for _ in range(count))
        if kind == _STRING:
            self.skip_texts(count, key)
        else:
            self.position += count * size
        return ArrayLength(count)

    def tensor(self) -> TensorInfo:
        name = self.text("a tensor's name")
        num_dims = self.number(name, kind=4)
        if num_dims > _MAX_DIMS:
            raise _damaged(self.path, f"tensor {name!r} has {num_dims} dimensions")
        shape = tuple(self.number(name) for _ in range(num_dims))
        return TensorInfo(name, shape, self.number(name, kind=4), self.number(name))


def read_header(path: Path) -> GGUFHeader:
    """Parse the header of one file.

    Raises ModelNotFoundError when there is no such file, ModelFormatError when it is no GGUF or damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(path, data)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ModelNotFoundError(f"no readable model file at {path}", hint="check model.path") from error
    except ValueError as error:  # an empty file can't be mapped
        raise _damaged(path, "it is empty") from error


def _parse(path: Path, data: mmap.mmap) -> GGUFHeader:
    reader = _Reader(path, data)
    if data[:4] != b"GGUF":
        raise ModelFormatError(f"{path} is not a GGUF file", hint="convert it, or pick another model")
    reader.position = 4
    version = reader.number("the version", kind=4)
    if version not in (2, 3):
        raise ModelFormatError(f"{path}: GGUF version {version} is not supported", hint="convert the model again")
    num_tensors = reader.number("the number of tensors")
    num_values = reader.count("metadata values", 13)
    metadata: dict[str, Value] = {}
    for _ in range(num_values):
        key = reader.text("a metadata key")
        metadata[key] = reader.value(reader.number(key, kind=4), key)
    if num_tensors * 24 > len(data) - reader.position:
        raise _damaged(path, f"{num_tensors} tensors can't fit into the file")
    tensors = tuple(reader.tensor() for _ in range(num_tensors))
    digest = hashlib.sha256(memoryview(data)[: reader.position]).hexdigest()
    return GGUFHeader(path, version, metadata, tensors, _aligned(path, reader.position, metadata), digest)


def _aligned(path: Path, position: int, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0:
        raise _damaged(path, f"alignment {alignment!r}")
    return -(-position // alignment) * alignment


def model_files(path: Path) -> tuple[Path, ...]:
    """All files of the model that starts at `path`: one, or the parts of `NAME-00001-of-00003.gguf` in order.

    Any part may be given. Raises ModelNotFoundError naming the first part that is missing.
    """
    match = _SPLIT_NAME.fullmatch(path.name)
    if match is None:
        _require(path)
        return (path,)
    count = int(match["count"])
    parts: list[Path] = []
    for number in range(1, count + 1):
        part = path.with_name(f"{match['prefix']}-{number:05d}-of-{count:05d}.gguf")
        _require(part)
        parts.append(part)
    return tuple(parts)


def check(path: Path) -> tuple[GGUFHeader, ...]:
    """Headers of all parts, after making sure that each part is there, is a GGUF and is complete.

    Raises ModelNotFoundError, or ModelFormatError that says how many bytes are missing.
    """
    return tuple(_complete(read_header(part)) for part in model_files(path))


def model_bytes(headers: tuple[GGUFHeader, ...]) -> int:
    """Bytes of tensor data over all parts."""
    return sum(header.data_bytes for header in headers)


def fingerprint(headers: tuple[GGUFHeader, ...]) -> str:
    """Identifies a model by its metadata, tensor table and file sizes, without reading the weights."""
    return hashlib.sha256("\n".join(_identity(headers)).encode()).hexdigest()[:32]


def _identity(headers: tuple[GGUFHeader, ...]) -> Iterator[str]:
    return (f"{header.digest} {header.path.stat().st_size}" for header in headers)


def _require(path: Path) -> None:
    if not path.is_file():
        raise ModelNotFoundError(f"no model file at {path}", hint="check model.path; a split model needs all its parts")


def _complete(header: GGUFHeader) -> GGUFHeader:
    missing = header.data_offset + header.data_bytes - header.path.stat().st_size
    if header.tensors and missing > 0:
        raise ModelFormatError(
            f"{header.path} is truncated: {missing} bytes are missing",
            hint="fetch the file again: the download broke off",
        )
    return header


def _damaged(path: Path, reason: str) -> ModelFormatError:
    return ModelFormatError(f"{path} is not a usable GGUF file: {reason}", hint="fetch or convert the model again")
