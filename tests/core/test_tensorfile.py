"""safetensors files: exact bytes, read by the library, mapped without a copy, damage found."""

import hashlib
import json
import mmap

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from darkroom.core import tensorfile

TENSORS = {
    "labels": np.array([3, 1], np.int64),
    "images": np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3),
    "a": np.array(1.5, np.float32),
    "none": np.empty((0, 4), np.float32),
}


def test_the_bytes_are_those_of_the_format_whatever_the_order(tmp_path):
    digest = tensorfile.write(tmp_path / "a", {"b": np.array([1], np.uint8), "a": np.array([2], np.int16)}, {"x": 1})
    data = (tmp_path / "a").read_bytes()
    header = (
        b'{"__metadata__":{"json":"{\\"x\\": 1}"},'
        b'"a":{"dtype":"I16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}'
    )
    header += b" " * (-len(header) % 8)
    assert data == len(header).to_bytes(8, "little") + header + b"\x02\x00\x01"
    assert digest == hashlib.sha256(data).hexdigest()
    tensorfile.write(tmp_path / "b", {"a": np.array([2], np.int16), "b": np.array([1], np.uint8)}, {"x": 1})
    assert (tmp_path / "b").read_bytes() == data


def test_the_library_reads_what_is_written_and_the_other_way_round(tmp_path):
    tensorfile.write(tmp_path / "ours", TENSORS, {"made": "here"})
    save_file(TENSORS, tmp_path / "theirs")
    for found in (load_file(tmp_path / "ours"), tensorfile.mapped(tmp_path / "theirs")):
        assert found.keys() == TENSORS.keys()
        assert all(np.array_equal(found[name], TENSORS[name]) for name in TENSORS)
        assert all(found[name].dtype == TENSORS[name].dtype for name in TENSORS)
    assert tensorfile.facts(tmp_path / "ours") == {"made": "here"}
    assert tensorfile.facts(tmp_path / "theirs") is None


def test_reading_maps_the_file_read_only(tmp_path):
    tensorfile.write(tmp_path / "a", TENSORS)
    images = tensorfile.mapped(tmp_path / "a")["images"]
    base = images
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj, mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


@pytest.mark.parametrize("piece", [1, 7, 16, 1 << 22])
def test_pieces_end_where_a_multiple_of_their_size_does(piece, monkeypatch):
    monkeypatch.setattr(tensorfile, "PIECE", piece)
    header, tensors = b"header", [np.arange(50, dtype=np.uint8), np.arange(0), np.arange(9, dtype=np.int16)]
    first, *pieces = [bytes(part) for part in tensorfile._pieces(header, tensors)]
    assert first + b"".join(pieces) == header + b"".join(tensor.tobytes() for tensor in tensors)
    ends = {6, 56, 74}  # of the header and of each tensor
    at = 6
    for part in pieces:
        at += len(part)
        assert 0 < len(part) <= piece
        assert at in ends or at % piece == 0


@pytest.mark.parametrize("keep", [0, 4, 8, 60, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    tensorfile.write(tmp_path / "a", TENSORS)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:keep])
    with pytest.raises(ValueError):  # noqa: PT011 - numpy's own words for a view that does not fit
        tensorfile.mapped(tmp_path / "a")


def described(path, header, tail=bytes(64)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + tail)
    return path


@pytest.mark.parametrize(
    "about",
    [
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [2, 2], "data_offsets": [-16, 0]},
        {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [1 << 62, 1 << 62, 0, 4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": 4, "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 32]},
        {"dtype": "F32", "shape": [4], "data_offsets": "0 16"},
        {"dtype": "F32", "shape": [4] + [1] * 100_000, "data_offsets": [0, 16]},
        {"dtype": ["F32"], "shape": [4], "data_offsets": [0, 16]},
        {"dtype": "O", "shape": [4], "data_offsets": [0, 16]},
        {"shape": [4], "data_offsets": [0, 16]},
        [],
        "x" * 10_000_000,
    ],
)
def test_a_tensor_that_the_header_describes_wrongly_is_one_short_line(tmp_path, about):
    path = described(tmp_path / "a", {"weight": about})
    with pytest.raises(ValueError, match=r"not a safetensors file that can be mapped \(weight: ") as error:
        tensorfile.mapped(path)
    assert len(str(error.value)) < 300 + len(str(path))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b'{"__metadata__":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "its header is nested too deep"),
        ({"__metadata__": {"json": "[" * 20_000 + "]" * 20_000}}, "its header is nested too deep"),
        ({"__metadata__": ["json"]}, "its metadata are"),
        ({"__metadata__": 3}, "its metadata are 3, expected texts by name"),
        ({"__metadata__": {"json": {"a": 1}}}, "its metadata are"),
        ({"__metadata__": {"json": "[" + "1," * 1_000_000 + "1]"}}, "its facts are .* expected an object"),
        ([1], "not a safetensors file"),
        (b"\xff\xfe{}", "a: its header is not JSON"),
    ],
)
def test_metadata_of_a_wrong_kind_are_one_short_line(tmp_path, header, reason):
    with pytest.raises(ValueError, match=reason) as error:
        tensorfile.facts(described(tmp_path / "a", header))
    assert len(str(error.value)) < 200 + len(str(tmp_path))


def test_a_name_of_a_tensor_cannot_write_lines(tmp_path):
    with pytest.raises(ValueError, match="weight") as error:
        tensorfile.mapped(described(tmp_path / "a", {"weight\n\x1b[31m": None}))
    assert str(error.value).isprintable()
