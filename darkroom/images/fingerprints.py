"""What copies of a picture are known by, read off one small decoding of it."""

from darkroom.core.errors import BadImage, NoMemory
from darkroom.images import crops, phash
from darkroom.images.decode import decode_grey


def fingerprints(data: bytes, short_side: int = 0) -> tuple[str, str]:
    """(perceptual hash, window hashes) of an image file's bytes; "" for a flat or unreadable picture.

    The first is 64 hex digits: 256 bits, low frequencies first. The second, as `crops.as_text` writes it, is left out
    where the picture's `short_side` is below crops.MIN_SIDE pixels.
    """
    try:
        if short_side < crops.MIN_SIDE:
            return phash.hash_of(*decode_grey(data, phash.SIDE)), ""
        small, larger = decode_grey(data, phash.SIDE, crops.GRID)
    except NoMemory:
        raise  # it is tried again when nothing else runs
    except BadImage:
        return "", ""
    whole = phash.hash_of(small)
    return whole, crops.as_text(crops.window_hashes(larger)) if whole else ""


def perceptual_hash(data: bytes) -> str:
    """The first of an image file's fingerprints."""
    return fingerprints(data)[0]
