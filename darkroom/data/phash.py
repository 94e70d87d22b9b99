"""A perceptual hash: copies of a photo, resized, re-encoded or brightened, differ in few bits, others in many."""

import numpy as np

from darkroom.data.decode import decode_grey

SIDE, LOW = 32, 16  # the LOW x LOW lowest frequencies of a SIDE x SIDE thumbnail


def _cosines() -> np.ndarray:
    frequency, place = np.arange(LOW)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)).astype(np.float32)


COSINES = _cosines()


def perceptual_hash(data: bytes) -> str:
    """64 hex digits (256 bits) of an image file's bytes. Raises BadImage."""
    grey = decode_grey(data, SIDE).astype(np.float32)
    spectrum = (COSINES @ grey @ COSINES.T).ravel()
    spectrum[0] = 0.0  # the mean brightness
    return np.packbits(spectrum > np.median(spectrum)).tobytes().hex()
