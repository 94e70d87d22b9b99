"""Rows of several arrays, wherever these lie in memory, come as from one."""

import numpy as np
import pytest

from darkroom.images.shards import _MappedRows


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
@pytest.mark.parametrize("row", [(1,), (3, 3, 3), (4, 4, 3), (2, 5)])
@pytest.mark.parametrize("counts", [(9,), (4, 5), (1, 7, 1)])
def test_rows_are_those_of_the_arrays_one_after_the_other(dtype, row, counts):
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 256, (sum(counts), *row)).astype(dtype)
    # In one block of memory, from back to front, with gaps that no row's length divides.
    size = whole[:1].nbytes
    memory = np.zeros(whole.nbytes + 1024, np.uint8)
    arrays, end = [], len(memory)
    for part in np.split(whole, np.cumsum(counts)[:-1]):
        begin = (end - len(part) * size - 13 * len(arrays)) // whole.itemsize * whole.itemsize
        arrays.append(memory[begin : begin + len(part) * size].view(dtype).reshape(part.shape))
        arrays[-1][...] = part
        end = begin
    mapped = _MappedRows(arrays)
    for places in (rng.permutation(len(whole)), np.array([len(whole) - 1, 0, 0]), np.empty(0, np.int64)):
        found = mapped.rows(places)
        assert found.dtype == dtype
        assert np.array_equal(found, whole[places])
        assert found.flags.owndata or found.base.flags.owndata  # a copy: the caller may change it
        out = np.empty((len(places), *row), dtype)
        mapped.copy(places, out)
        assert np.array_equal(out, whole[places])


def test_the_arrays_live_as_long_as_the_mapped_rows():
    mapped = _MappedRows([np.full((3, 5), number, np.uint8) for number in range(4)])
    assert mapped.rows(np.arange(12))[:, 0].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
