"""Decode the bytes of an image file into pixels, in the one way that preprocess, predict and serve share.

JPEG goes through libjpeg-turbo, scaled while it is decoded; everything else through Pillow. Any file gives either
pixels or BadImage with a reason: no other exception, no warning, and never more than about 1 GB of memory.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from darkroom.core.errors import BadImage, NoMemory
from darkroom.images.colour import deep_colours, eight_bits, embedded_profile, to_srgb, without_alpha
from darkroom.images.formats import (
    MAX_JPEG_PIXELS,
    MAX_PIXELS,
    MAX_PROGRESSIVE_PIXELS,
    MAX_ROWS,
    MAX_SCANNED_PIXELS,
    MAX_WIDE_PIXELS,
    SCAN_PIXELS,
    WIDE,
    TooManyParts,
    check_parts,
    open_picture,
    quiet,
    what_is_wrong,
)
from darkroom.images.framing import Framing
from darkroom.images.headers import (
    JPEG,
    count_scans,
    is_progressive,
    jpeg_orientation,
    picture_orientation,
    scanned_pixels,
    upright,
)
from darkroom.images.levels import INTEGERS, WHITE, Levels, has_own_scale, low_bytes

WHOLE = (0.0, float(WHITE))  # the levels of all 16 bits: of colours, the high bytes are the result
PLANAR, BITS, PHOTOMETRIC = 284, 258, 262  # tags of TIFF
ODD_TIFF = "a TIFF of channels or bits that are not read: export it as grey or RGB of 8 or 16 bits"
TOO_MANY_SCANS = "too many scans for {} x {} pixels: decoding it would take very long"
# libjpeg-turbo decodes a JPEG at a fraction of its size, and Pillow resizes that. From a fraction of twice the wanted
# size, the result is as good as from the full size: 0.05 of 255 apart on 100 photos, but 2.5 without this factor.
DETAIL = 2


class _Opened(NamedTuple):
    """A decoded picture, RGB or L, its EXIF orientation, and the ICC profile still to be applied.

    `whole`: (width, height) in its file; `scale`: of the decoded picture.
    """

    image: Image.Image
    orientation: int
    profile: bytes
    whole: tuple[int, int]
    scale: float = 1.0

    def framed(self, framing: Framing) -> Image.Image:
        """Return the part that `framing` keeps, in sRGB and upright. Resized first: fewer pixels to convert."""
        image = to_srgb(framing.fit(self.image, self.orientation, self.whole, self.scale), self.profile)
        return upright(image if image.mode == "RGB" else image.convert("RGB"), self.orientation)


def decode(data: bytes, framing: Framing) -> np.ndarray:
    """Return RGB pixels in sRGB, upright: (size, size, 3) uint8, 0..255. Raises BadImage with the reason."""
    with _memory():
        return np.asarray(framing.on_square(_open(data, framing, DETAIL).framed(framing)))


def decode_whole(data: bytes, longest: int) -> np.ndarray:
    """Return RGB pixels of the whole picture in sRGB, upright, its longer side at most `longest`: (h, w, 3) uint8.

    Raises BadImage with the reason.
    """
    with _memory():
        opened = _open(data, Framing(longest, "pad", longest))
        size = min(longest, max(opened.image.size))
        return np.asarray(opened.framed(Framing(size, "pad", size)))


def decode_grey(data: bytes, *sides: int) -> list[np.ndarray]:
    """Return the luminance, upright, stretched to each of `sides`, smallest first: (side, side) uint8 each.

    Raises BadImage with the reason.
    """
    with _memory():
        opened = _open(data, Framing(sides[0], "stretch", sides[0]), grey=True)
        image = opened.image.convert("L")
        found = [image.resize((side, side), Image.Resampling.BOX, reducing_gap=3.0) for side in sides]
        return [np.asarray(upright(one, opened.orientation)) for one in found]


@contextmanager
def _memory() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise NoMemory("not enough memory") from error


def check_format(file: BinaryIO) -> None:
    """Raise BadImage unless an open file begins like a picture that `decode` reads; the file is rewound."""
    head = file.read(4096)
    file.seek(0)
    with _memory(), quiet():
        try:
            open_picture(file)
        except Image.DecompressionBombError:
            pass  # `decode` has its own limits
        except Exception as error:
            raise _problem(head, error) from error
    file.seek(0)


def _open(data: bytes, framing: Framing, detail: int = 1, grey: bool = False) -> _Opened:
    """Return the decoded picture, `detail` times as large as `framing` needs it if it is that large."""
    side = framing.short_side if framing.resize == "crop" else framing.size
    if data[:2] != JPEG:
        return _pillow(data, side, framing.levels)
    try:
        check_parts(io.BytesIO(data))
    except TooManyParts as error:
        raise _problem(data, error) from error
    orientation = jpeg_orientation(data)
    opened = _jpeg(data, framing, detail, grey) or _pillow(data, side, framing.levels)
    return opened._replace(orientation=orientation)


def _jpeg(data: bytes, framing: Framing, detail: int, grey: bool) -> _Opened | None:
    """Decode a JPEG at the smallest scale that suffices, RGB or L; None leaves it to Pillow."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if height * width > (MAX_PROGRESSIVE_PIXELS if is_progressive(data) else MAX_JPEG_PIXELS):
        raise BadImage(f"too large: {width} x {height} pixels")
    if scanned_pixels(data, height * width) > MAX_SCANNED_PIXELS:
        raise BadImage(TOO_MANY_SCANS.format(width, height))
    if colours not in ("RGB", "YCbCr", "Gray"):
        return None
    across, down = (detail * side for side in framing.scaled(width, height))
    grey = grey or colours == "Gray"
    try:
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB", min_height=down, min_width=across)
    except ValueError:
        return None  # perhaps only a blemish: Pillow tells it from truncation
    image = Image.fromarray(pixels[..., 0] if grey else pixels)
    return _Opened(image, 1, embedded_profile(data), (width, height), _scale((width, height), image.size))


def _scale(whole: tuple[int, int], decoded: tuple[int, int]) -> float:
    """Return the eighths at which a JPEG of `whole` pixels was `decoded`; its sides were rounded up."""
    return next((n / 8 for n in range(8, 0, -1) if tuple(-(-side * n // 8) for side in whole) == decoded), 1.0)


def _pillow(data: bytes, side: int, levels: Levels) -> _Opened:
    """Return the first frame as RGB or L, fully decoded, of at least `side` pixels."""
    with quiet():
        try:
            image = open_picture(io.BytesIO(data))
        except Exception as error:
            raise _problem(data, error) from error
        limit = MAX_WIDE_PIXELS if image.format in WIDE or image.mode in WIDE else MAX_PIXELS
        if not 0 < image.width * image.height <= limit or image.height > MAX_ROWS:
            raise BadImage(f"too large: {image.width} x {image.height} pixels")
        if _scanned_pixels(data, image) > MAX_SCANNED_PIXELS:
            raise BadImage(TOO_MANY_SCANS.format(image.width, image.height))
        if _is_misread(image):
            raise BadImage(ODD_TIFF)
        try:
            levels = {INTEGERS: WHOLE} if has_own_scale(image) else levels
            low = low_bytes(data, image) if levels.get(INTEGERS) != WHOLE else None
            image.load()
            if low is not None:
                image = deep_colours(image, low, levels)
            orientation, profile = picture_orientation(image), embedded_profile(data, image)
            if image.mode == "CMYK":  # only the profile knows the colours of its inks
                image, profile = to_srgb(image, profile), b""
            scaled = eight_bits(image, levels)
            scaled = ImageOps.invert(scaled) if _is_negative(image) else scaled
            scaled, profile = without_alpha(scaled, side, profile)
            return _Opened(scaled, orientation, profile, scaled.size)
        except Exception as error:
            raise _problem(data, error) from error


def _is_misread(image: Image.Image) -> bool:
    """Return whether Pillow would read planar uncompressed 16-bit colours as 8-bit ones."""
    tags = getattr(image, "tag_v2", {})
    apart = tags.get(PLANAR) == 2 and tags.get(BITS, (8,))[0] > 8
    return apart and any(tile.codec_name == "raw" for tile in getattr(image, "tile", ()))


def _is_negative(image: Image.Image) -> bool:
    """Return whether 0 is white in a 16-bit TIFF; Pillow inverts one of 8 bits itself."""
    return image.mode.startswith("I") and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0


def _scanned_pixels(data: bytes, image: Image.Image) -> int:
    """Return how many pixels the JPEG scans of an open picture go over in all; 0 where it holds no JPEG."""
    if image.format in ("JPEG", "MPO"):
        return scanned_pixels(data, image.width * image.height)
    if image.format == "TIFF" and image.info.get("compression") == "jpeg":  # each strip or tile has scans of its own
        return count_scans(data) * (image.width * image.height // max(len(getattr(image, "tile", ())), 1) + SCAN_PIXELS)
    return 0


def _problem(data: bytes, error: Exception) -> Exception:
    return error if isinstance(error, MemoryError) else BadImage(_reason(data, error))


def _reason(data: bytes, error: Exception) -> str:
    if isinstance(error, TooManyParts):
        return f"too many parts: {error}"
    if isinstance(error, Image.DecompressionBombError):
        return "too large: more pixels than fit in memory"
    known = what_is_wrong(data)
    if known:
        return known
    if isinstance(error, UnidentifiedImageError) and data.startswith((b"II*\0", b"MM\0*")):
        return ODD_TIFF
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "truncated"
    return f"damaged: {(' '.join(str(error).split()) or type(error).__name__)[:100]}"
