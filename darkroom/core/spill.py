"""Tables of images times classes, which may be larger than memory: kept in a file without a name from some size on."""

import os
import tempfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

SMALL = 64_000_000  # bytes that an array takes of memory


def table(shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> np.ndarray:
    """An array of zeros. A large one lies in the temporary folder, and ends with the last use of it.

    Its pages are the system's to write out when memory is wanted; room on the disk is reserved here. Raises OSError.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= SMALL:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="darkroom-") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # a disk that is full is found out here, not in the middle
        else:
            file.truncate(size)
        return np.asarray(np.memmap(file, dtype, mode="r+", shape=shape))


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the rows of a table of float64, such that a block and a few things computed from it are small."""
    rows = max(1, SMALL // 4 // (8 * max(1, int(np.prod(shape[1:])))))
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))
