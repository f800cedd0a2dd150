"""A GGUF header is read completely, and a hostile or broken file costs an error and nothing else."""

import struct
from collections.abc import Callable
from pathlib import Path

import gguf as gguf_package
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qcn_agent import gguf
from qcn_agent.errors import ModelError, ModelFormatError, ModelNotFoundError
from qcn_agent.models.embedded import embedded_model_path

MODEL = embedded_model_path()
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write bytes to a file and give its path."""

    def run(data: bytes, name: str = "m.gguf") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return run


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _string(key) + struct.pack("<I", kind) + value


def _file(pairs: list[bytes], tensors: list[bytes] | None = None, data: bytes = b"", version: int = 3) -> bytes:
    tensors = tensors or []
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs + tensors)
    return header + b"\0" * (-len(header) % 32) + data


def _tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def test_reads_what_the_reference_reader_reads() -> None:
    """Metadata, tensors, offsets and sizes agree with the `gguf` package on the embedded model."""
    header, reference = gguf.read_header(MODEL), gguf_package.GGUFReader(MODEL)
    assert header.architecture == "qwen3next"
    assert header.version == 3
    assert [t.name for t in header.tensors] == [t.name for t in reference.tensors]
    for ours, theirs in zip(header.tensors, reference.tensors, strict=True):
        assert ours.shape == tuple(theirs.shape.tolist())
        assert ours.num_bytes == theirs.n_bytes
        assert header.data_offset + ours.offset == theirs.data_offset
    for key, value in header.metadata.items():
        theirs_value = reference.fields[key].contents()
        if isinstance(value, gguf.ArrayLength):
            assert value.length == len(theirs_value)
        else:
            assert (list(value) if isinstance(value, tuple) else value) == theirs_value
    assert header.data_offset + header.data_bytes == MODEL.stat().st_size


def test_every_type_of_the_reference_has_its_size() -> None:
    """One row of each ggml type takes as many bytes as the `gguf` package says."""
    for kind, (block, size) in gguf_package.GGML_QUANT_SIZES.items():
        assert gguf.TensorInfo("t", (block * 3, 2), int(kind), 0).num_bytes == size * 6


def test_scalars_strings_and_arrays_are_read(write: Write) -> None:
    """All value types come back as Python values, negative and non-ASCII ones included."""
    pairs = [
        _pair("u8", 0, b"\xff"),
        _pair("i8", 1, b"\xff"),
        _pair("i32", 5, struct.pack("<i", -7)),
        _pair("f32", 6, struct.pack("<f", 0.5)),
        _pair("flag", 7, b"\x01"),
        _pair("text", 8, _string("größe")),
        _pair("u64", 10, struct.pack("<Q", 1 << 63)),
        _pair("numbers", 9, struct.pack("<IQ3h", 3, 3, -1, 0, 1)),
        _pair("words", 9, struct.pack("<IQ", 8, 2) + _string("a") + _string("")),
        _pair("long", 9, struct.pack("<IQ", 0, 2000) + bytes(2000)),
        _pair("long words", 9, struct.pack("<IQ", 8, 1500) + _string("xy") * 1500),
        _pair("last", 8, _string("end")),
    ]
    metadata = gguf.read_header(write(_file(pairs))).metadata
    assert metadata == {
        "u8": 255,
        "i8": -1,
        "i32": -7,
        "f32": 0.5,
        "flag": True,
        "text": "größe",
        "u64": 1 << 63,
        "numbers": (-1, 0, 1),
        "words": ("a", ""),
        "long": gguf.ArrayLength(2000),
        "long words": gguf.ArrayLength(1500),
        "last": "end",
    }


def test_integer_ignores_values_of_other_types(write: Write) -> None:
    """A flag or a text is no number."""
    header = gguf.read_header(write(_file([_pair("flag", 7, b"\x01"), _pair("n", 4, struct.pack("<I", 5))])))
    assert (header.integer("flag", 9), header.integer("n", 9), header.integer("none", 9)) == (9, 5, 9)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    """Also when the path is a folder; the hint says which setting to check."""
    for path in (tmp_path / "none.gguf", tmp_path):
        for call in (gguf.read_header, gguf.check):
            with pytest.raises(ModelNotFoundError) as caught:
                call(path)
            assert "model.path" in caught.value.hint


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"GGU", "not a GGUF"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF"),
        (b"GGUF", "ends inside the version"),
        (_file([], version=1), "version 1"),
        (_file([], version=77), "version 77"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 62), "can't fit"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 0), "can't fit"),
        (_file([struct.pack("<Q", 1 << 60) + b"key"]), "ends inside a metadata key"),
        (_file([_pair("k", 8, struct.pack("<Q", 1 << 40))]), "ends inside k"),
        (_file([_pair("k", 9, struct.pack("<IQ", 8, 1 << 50))]), "can't fit"),
        (
            _file([_pair("k", 9, struct.pack("<IQ", 8, 2000) + struct.pack("<Q", 1 << 50) + bytes(20000))]),
            "ends inside",
        ),
        (_file([_pair("k", 9, struct.pack("<IQ", 10, 1 << 61))]), "can't fit"),
        (_file([_pair("k", 9, struct.pack("<IQ", 9, 1))]), "array of the unknown type 9"),
        (_file([_pair("k", 77, b"")]), "unknown type 77"),
        (_file([_pair("general.alignment", 4, bytes(4))]), "alignment 0"),
        (_file([_pair("general.alignment", 8, _string("x"))]), "alignment 'x'"),
        (_file([], [_string("t") + struct.pack("<I", 500) + bytes(64)]), "500 dimensions"),
    ],
)
def test_broken_headers_are_format_errors(write: Write, data: bytes, reason: str) -> None:
    """Each kind of damage is named, and nothing is allocated for counts the file can't hold."""
    with pytest.raises(ModelFormatError, match=reason):
        gguf.read_header(write(data))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2500), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 3000))
def test_flipped_bytes_and_cut_files_raise_nothing_else(
    write: Write, flips: list[tuple[int, int]], length: int
) -> None:
    """Whatever happens to the file, reading gives a header or a ModelError."""
    pairs = [_pair(f"key{n}", 8, _string("value" * n)) for n in range(10)]
    tensors = [_tensor(f"blk.{n}.w", (32, 4), 8, 136 * n) for n in range(8)]
    data = bytearray(_file(pairs, tensors, bytes(136 * 8)))
    for position, value in flips:
        data[position % len(data)] = value
    path = write(bytes(data[: max(length, 1)]))
    try:
        gguf.check(path)
    except ModelError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("missing", [1, 1000, 5_000_000])
def test_a_truncated_file_says_how_much_is_missing(write: Write, missing: int) -> None:
    """And what to do about it."""
    with pytest.raises(ModelFormatError, match=f"{missing} bytes are missing") as caught:
        gguf.check(write(MODEL.read_bytes()[:-missing]))
    assert "fetch the file again" in caught.value.hint


def test_a_complete_file_passes() -> None:
    """One header for a whole model."""
    (header,) = gguf.check(MODEL)
    assert gguf.model_bytes((header,)) == header.data_bytes > 5_000_000


def _parts(write: Write, count: int = 3) -> list[Path]:
    paths = []
    for number in range(count):
        pairs = [_pair("split.count", 2, struct.pack("<H", count)), _pair("split.no", 2, struct.pack("<H", number))]
        pairs += [_pair("general.architecture", 8, _string("llama"))] * (number == 0)
        data = _file(pairs, [_tensor(f"t{number}", (4,), 0, 0)], bytes(16))
        paths.append(write(data, f"m-{number + 1:05d}-of-{count:05d}.gguf"))
    return paths


def test_any_part_of_a_split_model_leads_to_all(write: Write) -> None:
    """In order, with their numbers, and with the sizes added up."""
    parts = _parts(write)
    for part in parts:
        assert gguf.model_files(part) == tuple(parts)
    headers = gguf.check(parts[1])
    assert [header.split_no for header in headers] == [0, 1, 2]
    assert [header.split_count for header in headers] == [3, 3, 3]
    assert gguf.model_bytes(headers) == 48


def test_a_missing_part_is_named(write: Write) -> None:
    """So that the user knows what to fetch."""
    parts = _parts(write)
    parts[2].unlink()
    with pytest.raises(ModelNotFoundError, match="m-00003-of-00003"):
        gguf.check(parts[0])


def test_a_whole_file_is_its_own_only_part() -> None:
    """No split is assumed without the name of one."""
    assert gguf.model_files(MODEL) == (MODEL,)
    assert gguf.read_header(MODEL).split_count == 1


def test_the_fingerprint_changes_with_header_and_size(write: Write) -> None:
    """Equal files have equal fingerprints wherever they lie; another name in the metadata or more data do not."""
    base = _file([_pair("general.name", 8, _string("one"))])
    prints = [
        gguf.fingerprint((gguf.read_header(write(data, name)),))
        for name, data in (("a", base), ("b", base), ("c", base.replace(b"one", b"two")), ("d", base + b"\0"))
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
