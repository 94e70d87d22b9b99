"""Find which values of 16-bit and floating-point pictures become black and white: one scale for a whole data set.

Cameras and scanners write 10 or 12 bits into files of 16, and floating-point files hold any range. Scaled by the range
of the format, such pictures keep a few of 256 levels; scaled by their own ranges, their brightness cannot be compared.
So `fetch` reads the range of each such file, and `common_levels` makes one scale of them.
"""

import io
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from darkroom.images.formats import MAX_WIDE_PIXELS, PNG, open_picture, quiet

INTEGERS, FLOATS = "integers", "floats"
WHITE = 65535  # of 16 bits
NO_DATA = (-9999.0, -32768.0, float(np.finfo(np.float32).min))  # what maps and scanners write where nothing was seen
TAILS = 0.001  # share of a picture's values that is ignored at either end: dead and hot pixels, a stray 1.01
OUTLIER = 16  # times the median range: such a file is damaged, or in another unit
MAX_OUTLIERS, MIN_FILES = 0.01, 8  # share of files that may be outliers; files from which on there may be any
DARK = 14  # times: between 12 and 16 bits lie 16
USUAL_ENDS, SLACK = (1.0, 255.0, 65535.0), 1.02  # of floating-point pictures; interpolation overshoots a little
DEEP = re.compile("(RGB[AXa]?);16([BLN])")  # Pillow's names of 16-bit colours
GREY_ALPHA = "LA;16B"  # Pillow's name of PNG's 16-bit grey with transparency
DEEP_PNG = (b"\x10\0", b"\x10\x02", b"\x10\x04", b"\x10\x06")  # 16 bits: grey, RGB, grey with alpha, RGBA
MAYBE_WIDE = (b"II*\0", b"MM\0*", b"P2", b"P5", b"P6", b"Pf")  # TIFF, PNM and PFM


@dataclass(frozen=True)
class Range:
    """The range of a picture's values, without TAILS; `kind` is INTEGERS or FLOATS."""

    kind: str
    low: float
    high: float


Levels = dict[str, tuple[float, float]]  # the values that become 0 and 255, by kind


def kind_of(image: Image.Image) -> str | None:
    """Return INTEGERS or FLOATS for a grey picture of more than 8 bits, None for any other."""
    return INTEGERS if image.mode.startswith("I") else FLOATS if image.mode == "F" else None


def has_own_scale(image: Image.Image) -> bool:
    """Return whether an open PGM says which value is white, by which Pillow scales it to 65535.

    A white of 65535 says nothing: most programs write it for any number of bits.
    """
    scaled = (tile for tile in getattr(image, "tile", ()) if tile.codec_name.startswith("ppm"))
    return image.mode == "I" and any(tile.args[-1] != WHITE for tile in scaled)


def range_of(values: np.ndarray, kind: str) -> Range:
    """Return the range of values (h, w) or (h, w, 3), without NO_DATA. Raises ValueError where some are not finite."""
    if kind == FLOATS and not np.isfinite(values).all():
        raise ValueError("holds values that are not numbers")
    lowest = values.min()
    if lowest in NO_DATA and lowest < values.max():
        values = values[values > lowest]
    tail = int(values.size * TAILS)
    ordered = np.partition(values.ravel(), sorted({tail, values.size - 1 - tail}))
    return Range(kind, float(ordered[tail]), float(ordered[-1 - tail]))


def low_bytes(data: bytes, image: Image.Image) -> Image.Image | None:
    """Return the low bytes of a 16-bit picture of which Pillow keeps only the high bytes; None for any other picture.

    Such pictures are in colour, or grey with transparency. `image` is the open picture in `data`, before its pixels are
    read; those of a PPM are then read as 16 bits. They are decoded once more, with the two bytes exchanged.
    """
    if [tile.args for tile in getattr(image, "tile", ())] == [GREY_ALPHA]:
        return _low_greys(data)
    _keep_bits_of_ppm(image)
    exchanged = [_exchanged(tile) for tile in getattr(image, "tile", ())]
    tiles = [tile for tile in exchanged if tile is not None]
    if not tiles or len(tiles) < len(exchanged):
        return None
    other = open_picture(io.BytesIO(data))
    other.tile = tiles  # type: ignore[attr-defined]
    other.load()
    return other


def _keep_bits_of_ppm(image: Any) -> None:
    """Let Pillow read a PPM of 16 bits as it reads other pictures of 16 bits, instead of rounding it to 8."""
    if image.format == "PPM" and image.mode == "RGB":
        image.tile = [
            tile._replace(codec_name="raw", args="RGB;16B")
            if tile.codec_name == "ppm" and tile.args[-1] == WHITE
            else tile
            for tile in image.tile
        ]


def _low_greys(data: bytes) -> Image.Image:
    """Return the low bytes of a PNG of 16-bit grey with transparency, as RGBA.

    Its four bytes per pixel (grey, its low byte, alpha, its low byte) are decoded as if they were 8-bit RGBA.
    """
    other: Any = open_picture(io.BytesIO(data))
    other.tile = [other.tile[0]._replace(args="RGBA")]
    _, grey, _, alpha = other.split()
    return Image.merge("RGBA", (grey, grey, grey, alpha))


def _exchanged(tile: Any) -> Any:
    """Return a tile that Pillow decodes with the byte order of its 16-bit colours exchanged; None for another tile."""
    raw = tile.args if isinstance(tile.args, str) else next(iter(tile.args or ()), "")
    match = DEEP.fullmatch(str(raw))
    if match is None:
        return None
    order = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[match[2]]
    swapped = f"{match[1]};16{order}"
    return tile._replace(args=swapped if isinstance(tile.args, str) else (swapped, *tile.args[1:]))


def deep_values(high: Image.Image, low: Image.Image) -> np.ndarray:
    """Return the values (h, w, 3) uint16 of a colour picture from its high and low bytes."""
    parts = [np.asarray(one)[..., :3].astype(np.uint16) for one in (high, low)]
    return parts[0] << 8 | parts[1]


def file_range(data: bytes) -> Range | None:
    """Return the range of values in an image file's bytes; None for 8 bits, or where it cannot be decoded.

    Only a file that may have more than 8 bits by its first bytes is opened.
    """
    if not (data.startswith(MAYBE_WIDE) or (data.startswith(PNG) and data[24:26] in DEEP_PNG)):
        return None
    try:
        with quiet(), open_picture(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_WIDE_PIXELS:
                return None
            low = low_bytes(data, image)
            if low is not None:
                return range_of(deep_values(image, low), INTEGERS)
            kind = None if has_own_scale(image) else kind_of(image)
            return None if kind is None else range_of(np.asarray(image), kind)
    except MemoryError:
        raise
    except Exception:
        return None  # preprocess reports the reason


def common_levels(ranges: Iterable[Range]) -> tuple[Levels, list[str]]:
    """Return the levels of a data set from the ranges of its files, and notes about them.

    Values of a few files beyond OUTLIER times the usual range are clipped, so that a broken file does not turn all
    others black.
    """
    levels: Levels = {}
    notes = []
    for kind in (INTEGERS, FLOATS):
        found = [one for one in ranges if one.kind == kind]
        if not found:
            continue
        lows, highs = (np.array([getattr(one, name) for one in found]) for name in ("low", "high"))
        outlying = highs > OUTLIER * max(float(np.median(highs)), 1e-9)
        if len(found) < MIN_FILES or outlying.sum() > max(1, MAX_OUTLIERS * len(found)):
            outlying[:] = False
        levels[kind] = levels_of(Range(kind, float(lows[~outlying].min()), float(highs[~outlying].max())))
        low, high = levels[kind]
        what = "of more than 8 bits" if kind == INTEGERS else "of floating-point numbers"
        notes.append(f"{len(found)} pictures {what}: values from {low:g} to {high:g} become 0 to 255")
        notes += _dark(highs, high)
        if outlying.any():
            notes.append(f"{outlying.sum()} of them hold values of over {OUTLIER} times the usual: clipped")
    return levels, notes


def _dark(highs: np.ndarray, white: float) -> list[str]:
    """Return a note about pictures that stay far below `white`, such as those of 12 bits among others of 16."""
    dark = highs[highs * DARK < white]
    if not len(dark) or white <= 0:
        return []
    return [f"{len(dark)} of them have no value above {dark.max():g} and become nearly black beside the others; if "
            "they were saved with fewer bits or in another unit, bring all pictures to one scale first"]  # fmt: skip


def levels_of(values: Range) -> tuple[float, float]:
    """Return the values that become 0 and 255: zero, or the lowest value below it, and the end of the range.

    Integers end at all ones of the bits that they use. Floating-point numbers end at 1, 255 or 65535 where they use
    half of that or more, those on both sides of zero at -1 and 1, otherwise at their lowest and highest value.
    """
    low = min(values.low, 0.0)
    if values.kind == INTEGERS:
        return low, float((1 << max(int(values.high), 255).bit_length()) - 1)
    if low == 0:
        usual = (end for end in USUAL_ENDS if end / 2 <= values.high <= end * SLACK)
        return low, next(usual, values.high or 1.0)
    if all(0.5 <= end <= SLACK for end in (-low, values.high)):
        return -1.0, 1.0
    return low, values.high if values.high > low else low + 1.0
