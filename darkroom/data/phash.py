"""A perceptual hash: copies of a photo, resized, re-encoded or brightened, differ in few bits, other photos in half.

The signs of the 256 lowest frequencies of a small grey picture (its discrete cosine transform), low ones first. After
the "pHash" of E. Klinger and D. Starkweather (2010), with 256 bits for its 64. benchmarks/README.md has what it finds.
"""

import numpy as np

from darkroom.data.decode import decode_grey
from darkroom.errors import BadImage

SIDE, FREQUENCIES, BITS = 32, 24, 256
FLAT = 1.0  # grey levels of standard deviation: below it there is nothing but rounding to compare


def _cosines() -> np.ndarray:
    frequency, place = np.arange(FREQUENCIES)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)).astype(np.float32)


def _low_first() -> np.ndarray:
    rows, columns = np.indices((FREQUENCIES, FREQUENCIES)).reshape(2, -1)
    order = np.lexsort([rows, rows + columns])
    return order[1 : BITS + 1]  # the first is the mean brightness


COSINES, ORDER = _cosines(), _low_first()


def perceptual_hash(data: bytes) -> str:
    """64 hex digits (256 bits, low frequencies first) of an image file's bytes; "" for a flat or unreadable picture."""
    try:
        grey = decode_grey(data, SIDE).astype(np.float32)
    except BadImage:
        return ""
    return hash_of(grey)


def hash_of(grey: np.ndarray) -> str:
    """The hash of a picture (SIDE, SIDE) float32 of 0..255; "" when it is flat."""
    if grey.std() < FLAT:
        return ""
    spectrum = (COSINES @ grey @ COSINES.T).ravel()
    return np.packbits(spectrum[ORDER] > 0).tobytes().hex()
