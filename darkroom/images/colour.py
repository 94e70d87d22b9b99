"""Convert the pixels of any file to 8-bit RGB or grey in sRGB, without transparency."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from darkroom.images.formats import MAX_PROFILE_BYTES
from darkroom.images.headers import JPEG, jpeg_segments
from darkroom.images.levels import INTEGERS, Levels, deep_values, kind_of, levels_of, range_of

STRIP = 1 << 20  # pixels that are converted at a time
BACKGROUND = (255, 255, 255)  # behind transparency, as in a browser
ICC_MARK = b"ICC_PROFILE\0"
CLOSE = 2  # of 255: a profile that changes no colour by more is taken for sRGB
NO_CACHE = 0x0040  # cmsFLAGS_NOCACHE: lets several threads use one transform
MODES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}


def eight_bits(image: Image.Image, levels: Levels) -> Image.Image:
    """Scale grey of more than 8 bits to 0..255 by the data set's `levels`; return other modes unchanged.

    Values beyond the levels are clipped. Without levels of its kind, the picture's own range is used. Raises ValueError
    for values that are not finite.
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
    """Scale a 16-bit colour picture, from its high and low bytes, to 0..255 by the data set's `levels`.

    It overwrites `high`, a strip of rows at a time; the alpha channel keeps its high bytes.
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


def without_alpha(image: Image.Image, side: int, profile: bytes) -> tuple[Image.Image, bytes]:
    """Return RGB or L, with white behind transparency, and the profile that is still to be applied.

    A transparent image far larger than `side` is reduced. Its profile is applied here: the white is that of sRGB.
    """
    if not image.has_transparency_data:
        return image if image.mode in ("RGB", "L") else image.convert("RGB"), profile
    colours = image if image.mode == "RGBA" else image.convert("RGBA")
    factor = min(colours.size) // (3 * side)
    if factor > 1:  # now, because each of the copies below takes 4 bytes a pixel
        colours = colours.reduce(factor)
    _to_srgb_under_alpha(colours, image.mode in ("L", "LA"), profile)
    page = Image.new("RGBA", colours.size, (*BACKGROUND, 255))
    page.alpha_composite(colours)
    return page.convert("RGB"), b""


def _to_srgb_under_alpha(image: Image.Image, grey: bool, profile: bytes) -> None:
    """Convert the colours of an RGBA image to sRGB in place, a strip of rows at a time; of a `grey` one, its greys."""
    rows = max(STRIP // max(image.width, 1), 1)
    for first in range(0, image.height if profile else 0, rows):
        strip = image.crop((0, first, image.width, min(first + rows, image.height)))
        seen = to_srgb(strip.getchannel("R") if grey else strip.convert("RGB"), profile).convert("RGB")
        seen.putalpha(strip.getchannel("A"))
        image.paste(seen, (0, first))


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
    """Return RGB or L in sRGB's colours; `image` itself without a profile, or with one for another mode.

    A broken profile is ignored, as browsers do: it must not lose the picture.
    """
    found = _transform(profile) if 0 < len(profile) <= MAX_PROFILE_BYTES else None
    if found is None:
        return image
    mode, transform = found
    if (mode, image.mode) == ("RGB", "L"):
        image = image.convert(mode)
    return transform.apply(image) if image.mode == mode else image


@lru_cache(maxsize=64)
def _transform(profile: bytes) -> tuple[str, Any] | None:
    """Return the mode of the pictures that a profile describes, and its transform to sRGB; None to change nothing."""
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
    """Return whether a transform leaves all colours of a cube, or all greys, unchanged up to rounding."""
    if mode == "L":
        cube = Image.linear_gradient("L")
    else:
        steps = range(0, 256, 51)
        cube = Image.frombytes("RGB", (36, 6), bytes(level for r in steps for g in steps for b in steps
                                                     for level in (r, g, b)))  # fmt: skip
    before, after = cube.convert("RGB").tobytes(), transform.apply(cube).tobytes()
    return max(abs(one - other) for one, other in zip(before, after, strict=True)) <= CLOSE
