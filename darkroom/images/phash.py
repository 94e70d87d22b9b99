"""A perceptual hash: copies of a photo, resized, re-encoded or brightened, differ in few bits, other photos in half.

The signs of the 256 lowest frequencies of a small grey picture (its discrete cosine transform), low ones first. After
the "pHash" of E. Klinger and D. Starkweather (2010), with 256 bits for its 64. benchmarks/README.md has what it finds.
"""

import numpy as np

SIDE, FREQUENCIES, BITS = 32, 24, 256
FLAT = 1  # grey levels of standard deviation: below it there is nothing but rounding to compare
# Cosines are whole numbers of this, and sums of their products with grey levels stay below 2 ** 53: in floating point
# they are exact, so that signs are the same whatever the processor or BLAS.
ONE = 1 << 17


def _cosines() -> np.ndarray:
    frequency, place = np.arange(FREQUENCIES)[:, None], np.arange(SIDE)[None, :]
    return np.rint(np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)) * ONE)


def _low_first() -> np.ndarray:
    rows, columns = np.indices((FREQUENCIES, FREQUENCIES)).reshape(2, -1)
    order = np.lexsort([rows, rows + columns])
    return order[1 : BITS + 1]  # the first is the mean brightness


COSINES, ORDER = _cosines(), _low_first()


def hash_of(grey: np.ndarray) -> str:
    """The hash of a picture (SIDE, SIDE) uint8; "" when it is flat."""
    levels = grey.astype(np.int64)
    if levels.size * (levels**2).sum() - levels.sum() ** 2 < (FLAT * levels.size) ** 2:
        return ""
    spectrum = (COSINES @ levels.astype(np.float64) @ COSINES.T).ravel()
    return np.packbits(spectrum[ORDER] > 0).tobytes().hex()
