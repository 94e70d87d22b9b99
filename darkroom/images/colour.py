"""Turn the values of a file into what is scaled: 8 bits a channel, no transparency, RGB or grey."""

import numpy as np
from PIL import Image

BACKGROUND = (255, 255, 255)  # behind transparency, as a browser's page


def eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and float grey to 0..255 by what the format can hold; return other modes as they are."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        bits = _bits(image)
        return Image.fromarray((values.astype(np.uint16, copy=False) >> (bits - 8)).clip(0, 255).astype(np.uint8))
    if not np.isfinite(values).all():
        raise ValueError("holds values that are not numbers")
    low, high = float(values.min()), float(values.max())
    if low >= 0:  # otherwise the format's own range is unknown, and the picture's is all there is
        low, high = 0.0, next((top for top in (1.0, 255.0, 65535.0) if high <= top), high)
        if image.mode == "I" and high == 1.0:
            high = 255.0
    return Image.fromarray(((values - low) * (255.0 / max(high - low, 1e-9)) + 0.5).clip(0, 255).astype(np.uint8))


def _bits(image: Image.Image) -> int:
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(258, (16,))
    return min(max(int(bits[0] if isinstance(bits, tuple) else bits), 8), 16)


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
