"""Find which values of 16-bit and floating-point pictures become black and white: one scale for a whole collection.

Cameras and scanners write 10 or 12 bits into files of 16, and floating-point files hold any range. Scaled by what the
format can hold, such pictures keep a few of 256 levels; scaled each by its own values, their brightness means nothing.
So `fetch` reads the values that each such file uses, and `common_levels` makes one scale of them.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from darkroom.images.formats import MAX_WIDE_PIXELS, open_picture, quiet
from darkroom.images.headers import PNG

INTEGERS, FLOATS = "integers", "floats"
TAILS = 0.001  # share of a picture's pixels at either end that do not count: dead and hot pixels, a stray 1.01
OUTLIER, MOST_OUTLIERS, FEW = 16, 0.01, 8  # times the median range; share of the files; files before any is one
USUAL_ENDS, SLACK = (1.0, 255.0, 65535.0), 1.02  # of floating-point pictures; interpolation overshoots a little
MAYBE_WIDE = (b"II*\0", b"MM\0*", b"P5", b"Pf")  # TIFF and the greymaps


@dataclass(frozen=True)
class Range:
    """The values that a picture uses, less TAILS: `kind` is INTEGERS or FLOATS."""

    kind: str
    low: float
    high: float


Levels = dict[str, tuple[float, float]]  # the values that become 0 and 255, by kind


def kind_of(image: Image.Image) -> str | None:
    """Return INTEGERS or FLOATS for a grey picture of more than 8 bits, None for any other."""
    return INTEGERS if image.mode.startswith("I") else FLOATS if image.mode == "F" else None


def range_of(values: np.ndarray, kind: str) -> Range:
    """Return the range of values (h, w). Raises ValueError where some are not finite."""
    if kind == FLOATS and not np.isfinite(values).all():
        raise ValueError("holds values that are not numbers")
    tail = int(values.size * TAILS)
    ordered = np.partition(values.ravel(), sorted({tail, values.size - 1 - tail}))
    return Range(kind, float(ordered[tail]), float(ordered[-1 - tail]))


def file_range(data: bytes) -> Range | None:
    """Return the range of an image file's bytes; None for one of 8 bits, or that cannot be decoded.

    Only a file whose first bytes may announce more than 8 bits is opened.
    """
    if not (data.startswith(MAYBE_WIDE) or (data.startswith(PNG) and data[24:26] == b"\x10\0")):
        return None
    try:
        with quiet(), open_picture(io.BytesIO(data)) as image:
            kind = kind_of(image)
            if kind is None or image.width * image.height > MAX_WIDE_PIXELS:
                return None
            return range_of(np.asarray(image), kind)
    except MemoryError:
        raise
    except Exception:
        return None  # preprocess says why


def common_levels(ranges: Iterable[Range]) -> tuple[Levels, list[str]]:
    """Return the levels of a collection from the ranges of its files, and what is worth a note.

    A few files with a range of another order of magnitude are clipped, so that a broken one does not turn all others
    black.
    """
    levels: Levels = {}
    notes = []
    for kind in (INTEGERS, FLOATS):
        found = [one for one in ranges if one.kind == kind]
        if not found:
            continue
        lows, highs = (np.array([getattr(one, name) for one in found]) for name in ("low", "high"))
        outlying = highs > OUTLIER * max(float(np.median(highs)), 1e-9)
        if len(found) < FEW or outlying.sum() > max(1, MOST_OUTLIERS * len(found)):
            outlying[:] = False
        levels[kind] = levels_of(Range(kind, float(lows[~outlying].min()), float(highs[~outlying].max())))
        low, high = levels[kind]
        what = "of more than 8 bits" if kind == INTEGERS else "of floating-point numbers"
        notes.append(f"{len(found)} pictures {what}: values from {low:g} to {high:g} become 0 to 255")
        if outlying.any():
            notes.append(f"{outlying.sum()} of them hold values of over {OUTLIER} times the usual: clipped")
    return levels, notes


def levels_of(values: Range) -> tuple[float, float]:
    """Return what becomes 0 and 255: from zero, unless values lie below, to the end of the integers' bits.

    Floating-point numbers end at 1, 255 or 65535 where they use half of that or more, otherwise where the data end. So
    a value a little beyond a usual end leaves a picture as bright as its kin.
    """
    low = min(values.low, 0.0)
    if values.kind == INTEGERS:
        return low, float((1 << max(int(values.high), 255).bit_length()) - 1)
    if low == 0:
        usual = (end for end in USUAL_ENDS if end / 2 <= values.high <= end * SLACK)
        return low, next(usual, values.high or 1.0)
    return low, values.high if values.high > low else low + 1.0
