"""Find pictures of poor quality: blurred, dark, bright, near-blank, enlarged or odd-shaped ones.

What is dark or blurred depends on the data set: scans of digits are mostly black. So a picture counts as dark, bright
or blurred only where it is beyond a fixed level and far from the median of the data set.
"""

from dataclasses import dataclass

import numpy as np

DARK, BRIGHT = 40.0, 215.0  # mean grey levels, 0..255
BLANK = 8.0  # standard deviation of the grey levels
SHARP = 0.12  # standard deviation of the second differences, as a share of that of the grey levels
FAR = 3.5  # robust standard deviations from the median
ENLARGED = 2.0  # times that a side is enlarged for the model
ODD = 3.0  # long side over short side
KINDS = ("near-blank", "dark", "bright", "blurred", "enlarged", "odd-shaped")


@dataclass(frozen=True)
class Quality:
    """Measures of each picture, float64 (n,).

    `brightness`: the mean grey level, 0..255; `contrast`: the standard deviation of the grey levels; `sharpness`: that
    of their second differences, as a share of the contrast.
    """

    brightness: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray


def quality(images: np.ndarray) -> Quality:
    """Return the measures of images (n, S, S, 3) uint8."""
    grey = images.astype(np.float32).mean(axis=3)
    contrast = grey.std(axis=(1, 2))
    middle = grey[:, 1:-1, 1:-1]
    edges = (
        4 * middle - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1] - grey[:, 1:-1, :-2] - grey[:, 1:-1, 2:]
        if middle.size
        else np.zeros_like(grey)
    )
    sharpness = edges.std(axis=(1, 2)) / np.maximum(contrast, 1.0)
    return Quality(*(part.astype(np.float64) for part in (grey.mean(axis=(1, 2)), contrast, sharpness)))


def doubtful(found: Quality, sides: np.ndarray, seen: int) -> dict[str, np.ndarray]:
    """Return the rows of each of KINDS, int64, the worst first.

    `sides` int64 (n, 2): width and height of each file, 0 where they are unknown; `seen`: side of the model's picture.
    """
    shorter = sides.min(axis=1)
    known = shorter > 0
    stretched = np.where(known, sides.max(axis=1) / np.maximum(shorter, 1), 0.0)
    enlarged = np.where(known, seen / np.maximum(shorter, 1), 0.0)
    blank = found.contrast < BLANK
    scores = {
        "near-blank": (blank, -found.contrast),
        "dark": (~blank & (found.brightness < DARK) & (_off(found.brightness) < -FAR), -found.brightness),
        "bright": (~blank & (found.brightness > BRIGHT) & (_off(found.brightness) > FAR), found.brightness),
        "blurred": (
            ~blank & (found.sharpness < SHARP) & (_off(np.log(found.sharpness + 1e-6)) < -FAR), -found.sharpness
        ),
        "enlarged": (enlarged > ENLARGED, enlarged),
        "odd-shaped": (stretched > ODD, stretched),
    }  # fmt: skip
    return {kind: rows[np.argsort(-score[rows], kind="stable")] for kind, (is_so, score) in scores.items()
            for rows in [np.flatnonzero(is_so)]}  # fmt: skip


def _off(values: np.ndarray) -> np.ndarray:
    """Return how many robust standard deviations each value is from the median."""
    median = np.median(values) if len(values) else 0.0
    spread = 1.4826 * np.median(np.abs(values - median)) if len(values) else 0.0
    return (values - median) / max(float(spread), 1e-9)
