"""safetensors files: exact bytes, read by the library, mapped without a copy, damage found."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from darkroom import tensorfile

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
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


@pytest.mark.parametrize("keep", [0, 4, 8, 60, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    tensorfile.write(tmp_path / "a", TENSORS)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:keep])
    with pytest.raises(ValueError):  # noqa: PT011 - numpy's own words for a view that does not fit
        tensorfile.mapped(tmp_path / "a")
