"""Turn the values of a file into what is scaled: 8 bits a channel, no transparency, RGB or grey."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from darkroom.images.formats import MAX_PROFILE_BYTES
from darkroom.images.headers import JPEG, jpeg_segments
from darkroom.images.levels import INTEGERS, Levels, deep_values, kind_of, levels_of, range_of

STRIP = 1 << 20  # pixels
BACKGROUND = (255, 255, 255)  # behind transparency, as a browser's page
ICC_MARK = b"ICC_PROFILE\0"
CLOSE = 2  # of 255: a profile that changes no colour by more is sRGB itself, under whatever name
NO_CACHE = 0x0040  # cmsFLAGS_NOCACHE: a transform that several threads may use
MODES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}


def eight_bits(image: Image.Image, levels: Levels) -> Image.Image:
    """Scale grey of more than 8 bits to 0..255 by the collection's `levels`; return other modes as they are.

    Values beyond the levels are clipped. Without levels of its kind, the picture's own range is all there is.
    Raises ValueError for values that are not finite.
    """
    kind = kind_of(image)
    if kind is None:
        return image
    values = np.asarray(image)
    own = range_of(values, kind)
    low, high = levels.get(kind) or levels_of(own)
    # Each of 256 levels holds as many integers; floating-point numbers are rounded to the nearest.
    steps, half = (256 / (high - low + 1), 0.0) if kind == INTEGERS else (255 / (high - low), 0.5)
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(steps) + np.float32(half)
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))


def deep_colours(high: Image.Image, low: Image.Image, levels: Levels) -> Image.Image:
    """Scale a 16-bit colour picture, from its high and low bytes, to 0..255 by the collection's `levels`.

    A part of the rows at a time, in the place of the high bytes; transparency keeps its high bytes.
    """
    bottom, top = levels.get(INTEGERS) or levels_of(range_of(deep_values(high, low), INTEGERS))
    factor = np.float32(256 / (top - bottom + 1))
    rows = max(STRIP // max(high.width, 1), 1)
    for first in range(0, high.height, rows):
        box = (0, first, high.width, min(first + rows, high.height))
        values = deep_values(high.crop(box), low.crop(box)).astype(np.float32)
        scaled = Image.fromarray(((values - np.float32(bottom)) * factor).clip(0, 255).astype(np.uint8))
        if high.mode == "RGBA":
            scaled.putalpha(high.crop(box).getchannel("A"))
        high.paste(scaled, box[:2])
    return high


def without_alpha(image: Image.Image, side: int) -> Image.Image:
    """Return RGB or L, on white where it was transparent; one of several times `side` pixels may be made smaller."""
    if image.has_transparency_data:
        colours = image if image.mode == "RGBA" else image.convert("RGBA")
        factor = min(colours.size) // (3 * side)
        if factor > 1:  # before the copies that follow: they would take 4 bytes a pixel each
            colours = colours.reduce(factor)
        page = Image.new("RGBA", colours.size, (*BACKGROUND, 255))
        page.alpha_composite(colours)
        return page.convert("RGB")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def embedded_profile(data: bytes, image: Image.Image | None = None) -> bytes:
    """Return the ICC profile of a JPEG's bytes, or of the open picture of another file; b"" where there is none."""
    if image is not None:
        found = image.info.get("icc_profile") or b""
        return found if isinstance(found, bytes) else b""
    if data[:2] != JPEG:
        return b""
    parts = {}
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE2 and data[start : start + len(ICC_MARK)] == ICC_MARK and end > start + len(ICC_MARK) + 2:
            parts[data[start + len(ICC_MARK)]] = data[start + len(ICC_MARK) + 2 : end]
    return b"".join(parts[number] for number in sorted(parts))


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return RGB or L in sRGB's colours; `image` itself without a profile, or with one of another mode.

    A broken profile must not lose the picture, so it is ignored as browsers ignore it.
    """
    found = _transform(profile) if 0 < len(profile) <= MAX_PROFILE_BYTES else None
    if found is None:
        return image
    mode, transform = found
    if mode == "L" and image.mode == "RGB":  # a grey JPEG that was decoded as RGB
        image = image.convert("L")
    if mode == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    return transform.apply(image) if image.mode == mode else image


@lru_cache(maxsize=64)
def _transform(profile: bytes) -> tuple[str, Any] | None:
    """Return the mode of pictures that a profile describes, and its transform to sRGB; None where nothing changes."""
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = MODES.get(opened.profile.xcolor_space)
        if mode is None:
            return None
        flags = ImageCms.Flags(NO_CACHE)
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB", flags=flags)
        return None if mode != "CMYK" and _changes_nothing(transform, mode) else (mode, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None


def _changes_nothing(transform: Any, mode: str) -> bool:
    """Tell whether a transform leaves all colours of a cube, or all greys, as they are but for rounding."""
    if mode == "L":
        cube = Image.linear_gradient("L")
    else:
        steps = range(0, 256, 51)
        cube = Image.frombytes("RGB", (36, 6), bytes(level for r in steps for g in steps for b in steps
                                                     for level in (r, g, b)))  # fmt: skip
    before, after = cube.convert("RGB").tobytes(), transform.apply(cube).tobytes()
    return max(abs(one - other) for one, other in zip(before, after, strict=True)) <= CLOSE
