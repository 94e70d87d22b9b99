"""Rows of several arrays, gathered as from one."""

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np


class Span:
    """The rows of several arrays of equal rows, one after the other, where they lie in memory.

    numpy gathers from one array at a time, and putting into place what came from each copies every row once more. So
    all of them are seen as one array: of rows that begin every few bytes, from the first array to the end of the last.
    Most of these rows straddle others, or lie in memory that is not ours; they are never read.

    `arrays`: contiguous, at least one, each of at least one row, of one dtype and one shape of a row.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        first, size = arrays[0], arrays[0][:1].nbytes
        begins = np.array([array.__array_interface__["data"][0] for array in arrays])
        lowest, ends = int(begins.min()), begins + [array.nbytes for array in arrays]
        step = math.gcd(size, *(begins - lowest).tolist())
        described = {
            "version": 3,
            "typestr": first.dtype.str,
            "shape": ((int(ends.max()) - lowest - size) // step + 1, size // first.itemsize),
            "strides": (step, first.itemsize),
            "data": (lowest, True),
        }
        self._all = np.asarray(SimpleNamespace(__array_interface__=described, kept=arrays))
        self._row_shape, self._rows_apart = first.shape[1:], size // step
        self._starts = np.cumsum([0, *(len(array) for array in arrays[:-1])])
        self._offsets = (begins - lowest) // step - self._starts * self._rows_apart
        self._only = first if len(arrays) == 1 else None

    def rows(self, places: np.ndarray) -> np.ndarray:
        """A copy of the rows at `places` int64 (b,), all of which are there."""
        if self._only is not None:
            return self._only.take(places, axis=0)
        return self._all[self._where(places)].reshape(len(places), *self._row_shape)

    def copy(self, places: np.ndarray, out: np.ndarray) -> None:
        """Copy the rows at `places` int64 (b,), all of which are there, into `out`."""
        if self._only is not None:
            self._only.take(places, axis=0, out=out, mode="clip")  # mode "raise" would copy twice
        else:
            out[...] = self.rows(places)

    def _where(self, places: np.ndarray) -> np.ndarray:
        return self._offsets[np.searchsorted(self._starts, places, side="right") - 1] + places * self._rows_apart
