"""scikit-learn's embedded digits: 1,797 real scans of 8 x 8 pixels, drawn as MNIST is drawn."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

FIELD, INK = 28, 20  # MNIST: ink within 20 x 20 pixels, centred in 28 x 28 by its centre of mass


def digits() -> Iterator[tuple[str, np.ndarray]]:
    """(class/number, pixels (28, 28) uint8, white on black) of every scan, in the data set's order."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    for number, (scan, label) in enumerate(zip(scans.images, scans.target, strict=True)):
        yield f"{label}/{number:04d}", draw(scan)


def draw(scan: np.ndarray) -> np.ndarray:
    """A scan (8, 8) of 0..16, ink high, as MNIST would show it: (28, 28) uint8."""
    ink = np.rint(scan * (255 / 16)).astype(np.uint8)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = INK / max(ink.shape)
    size = max(round(ink.shape[1] * scale), 1), max(round(ink.shape[0] * scale), 1)
    large = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC))
    weights = large / large.sum()
    middle = [float((weights.sum(axis=1 - axis) * np.arange(large.shape[axis])).sum()) for axis in (0, 1)]
    top, left = (min(max(round(FIELD / 2 - 0.5 - middle[axis]), 0), FIELD - large.shape[axis]) for axis in (0, 1))
    field = np.zeros((FIELD, FIELD), np.uint8)
    field[top : top + large.shape[0], left : left + large.shape[1]] = large
    return field
