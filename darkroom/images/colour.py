"""Turn the values of a file into what is scaled: 8 bits a channel, no transparency, RGB or grey."""

import numpy as np
from PIL import Image

from darkroom.images.levels import INTEGERS, Levels, kind_of, levels_of, range_of

BACKGROUND = (255, 255, 255)  # behind transparency, as a browser's page


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
