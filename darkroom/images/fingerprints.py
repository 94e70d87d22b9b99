"""Compute what copies of a picture are known by, from one small decoding of its file.

Apart from `hashes`, so that split, which compares hashes, does not depend on decoding.
"""

from darkroom.core.errors import BadImage, NoMemory
from darkroom.images import hashes
from darkroom.images.decode import decode_grey


def fingerprints(data: bytes, short_side: int = 0) -> tuple[str, str]:
    """Return (perceptual hash, window hashes) of an image file's bytes; "" for a flat or unreadable picture.

    The first is 64 hex digits: 256 bits, low frequencies first. The second, as `hashes.as_text` writes it, is left out
    where the picture's `short_side` is below hashes.MIN_SIDE pixels. Raises NoMemory.
    """
    try:
        if short_side < hashes.MIN_SIDE:
            return hashes.hash_of(*decode_grey(data, hashes.SIDE)), ""
        small, larger = decode_grey(data, hashes.SIDE, hashes.GRID)
    except NoMemory:
        raise  # it is tried again when nothing else runs
    except BadImage:
        return "", ""
    whole = hashes.hash_of(small)
    return whole, hashes.as_text(hashes.window_hashes(larger)) if whole else ""


def perceptual_hash(data: bytes) -> str:
    """Return the first of an image file's fingerprints."""
    return fingerprints(data)[0]
