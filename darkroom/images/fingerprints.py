"""Compute the hashes by which copies of a picture are found, from one small decoding of its file.

This is not in `hashes`, so that split, which compares hashes, does not depend on decoding.
"""

from darkroom.core.errors import BadImage, NoMemory
from darkroom.images import hashes
from darkroom.images.decode import decode_grey


def small_picture(data: bytes, side: int) -> bytes:
    """Return the grey levels of an image file, (side, side) uint8. Raises BadImage for an unreadable one."""
    return decode_grey(data, side)[0].tobytes()


def fingerprints(data: bytes, short_side: int = 0) -> tuple[str, str]:
    """Return (perceptual hash, window hashes) of an image file's bytes; "" for a flat or unreadable picture.

    The first is 64 hex digits: 256 bits, low frequencies first. The second, written by `hashes.as_text`, is "" where
    the picture's `short_side` is below hashes.MIN_SIDE pixels. Raises NoMemory.
    """
    try:
        if short_side < hashes.MIN_SIDE:
            return hashes.hash_of(*decode_grey(data, hashes.SIDE)), ""
        small, larger = decode_grey(data, hashes.SIDE, hashes.GRID)
    except NoMemory:
        raise  # the caller tries again while nothing else runs
    except BadImage:
        return "", ""
    whole = hashes.hash_of(small)
    return whole, hashes.as_text(hashes.window_hashes(larger)) if whole else ""
