"""Bytes to pixels: the one decoder that preprocess, predict and serve share.

JPEG goes through libjpeg-turbo, scaled while it is decoded; everything else through Pillow. Whatever the file does, the
answer is a picture or BadImage with a reason: no other exception, no warning, and no more than about 1 GB.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
import simplejpeg
from PIL import (  # the plugins are imported by name, so that Pillow does not load all of its formats
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from darkroom.core.errors import BadImage, NoMemory
from darkroom.images.modes import eight_bits, without_alpha
from darkroom.images.orientation import jpeg_orientation, picture_orientation, upright
from darkroom.images.quiet import quiet, silence_decoders
from darkroom.sources.diagnosis import what_is_wrong

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "PPM")
MAX_PIXELS = 80_000_000  # RGBA and its copy for resampling take 8 bytes a pixel: 640 MB
MAX_WIDE_PIXELS = 40_000_000  # where Pillow keeps twice as much: WebP and AVIF, 32-bit and float grey
WIDE = ("WEBP", "AVIF", "I", "F")
MAX_JPEG_PIXELS = 256_000_000  # a JPEG is scaled while it is read: a 200-megapixel phone photo is a few MB in memory
MAX_PROGRESSIVE_PIXELS = 100_000_000  # but progressive ones keep every coefficient: up to 6 bytes a pixel

# Above the limit Pillow warns and above twice the limit it raises: halved, its error comes where ours would.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
ImageFile.LOAD_TRUNCATED_IMAGES = False  # otherwise the missing part would be grey
silence_decoders()


@dataclass(frozen=True)
class Framing:
    """How a picture becomes a square of `size` pixels.

    `resize` crop: the short side becomes `short_side` and the middle is cut out; pad: the long side becomes `size` and
    the rest is black; stretch: both sides become `size`.
    """

    size: int
    resize: str
    short_side: int

    def facts(self) -> dict[str, Any]:
        """The fields as JSON values; `Framing(**facts)` makes it again."""
        return asdict(self)


def decode(data: bytes, framing: Framing) -> np.ndarray:
    """RGB pixels, upright: (size, size, 3) uint8, 0..255. Raises BadImage with the reason."""
    with _memory():
        return _square(data, framing)


def decode_whole(data: bytes, longest: int) -> np.ndarray:
    """RGB pixels of the whole picture, upright, its longer side at most `longest`: (h, w, 3) uint8. Raises BadImage."""
    with _memory():
        image, orientation = _open(data, longest, "pad")
        size = min(longest, max(image.size))
        return np.asarray(_rgb(_resample(image, Framing(size, "pad", size)), orientation))


def _square(data: bytes, framing: Framing) -> np.ndarray:
    image, orientation = _open(data, framing.short_side if framing.resize == "crop" else framing.size, framing.resize)
    image = _rgb(_resample(image, framing), orientation)
    if image.size != (framing.size, framing.size):
        square = Image.new("RGB", (framing.size, framing.size))
        square.paste(image, ((framing.size - image.width) // 2, (framing.size - image.height) // 2))
        image = square
    return np.asarray(image)


def _rgb(image: Image.Image, orientation: int) -> Image.Image:
    return upright(image if image.mode == "RGB" else image.convert("RGB"), orientation)


def decode_grey(data: bytes, *sides: int) -> list[np.ndarray]:
    """Luminance, upright, stretched to each of `sides`, the first being the smallest: (side, side) uint8 each.

    Raises BadImage with the reason.
    """
    with _memory():
        image, orientation = _open(data, sides[0], "stretch", grey=True)
        image = image.convert("L")
        found = [image.resize((side, side), Image.Resampling.BOX, reducing_gap=3.0) for side in sides]
        return [np.asarray(upright(one, orientation)) for one in found]


@contextmanager
def _memory() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise NoMemory("not enough memory") from error


def stored_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the picture that `decode` would read, before it is turned upright; (0, 0) when its header is
    broken. Decodes nothing. Raises NoMemory."""
    with _memory():
        try:
            if data[:2] == b"\xff\xd8":
                height, width, _, _ = simplejpeg.decode_jpeg_header(data)
                return width, height
        except ValueError:
            pass  # `decode` leaves it to Pillow, too
        try:
            with quiet(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.size
        except MemoryError:
            raise
        except Exception:
            return 0, 0


def check_format(file: BinaryIO) -> None:
    """Raise BadImage unless an open file begins like a picture that `decode` reads; the file is rewound."""
    head = file.read(4096)
    file.seek(0)
    with _memory(), quiet():
        try:
            Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError:
            pass  # a picture, which `decode` judges by its own limits
        except Exception as error:
            raise _problem(head, error) from error
    file.seek(0)


def _open(data: bytes, side: int, resize: str, grey: bool = False) -> tuple[Image.Image, int]:
    """A decoded picture of at least `side` pixels (its short side when cropping) and its EXIF orientation."""
    if data[:2] == b"\xff\xd8":
        orientation = jpeg_orientation(data)
        pixels = _jpeg(data, side, resize, grey)
        if pixels is not None:
            return Image.fromarray(pixels[..., 0] if grey else pixels), orientation
        return _pillow(data, side)[0], orientation
    return _pillow(data, side)


def _jpeg(data: bytes, side: int, resize: str, grey: bool) -> np.ndarray | None:
    """The JPEG decoded at the smallest scale that suffices: (h, w, 3) or (h, w, 1); None leaves it to Pillow."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    limit = MAX_PROGRESSIVE_PIXELS if _is_progressive(data) else MAX_JPEG_PIXELS
    if height * width > limit:
        raise BadImage(f"too large: {width} x {height} pixels")
    if colours not in ("RGB", "YCbCr", "Gray"):
        return None
    if resize == "crop":
        scale = side / min(height, width)
        least = math.ceil(height * scale), math.ceil(width * scale)
    else:
        least = (side, side) if resize == "stretch" else (1, 1)
        if resize == "pad":
            scale = side / max(height, width)
            least = math.ceil(height * scale), math.ceil(width * scale)
    try:
        return simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB", min_height=least[0], min_width=least[1])
    except ValueError:
        return None  # also for blemishes that do not harm the picture: Pillow tells them from truncation


def _is_progressive(data: bytes) -> bool:
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] not in (0xDA, 0xD9):
        if data[place + 1] in (0xC2, 0xC6, 0xCA, 0xCE):
            return True
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False


def _pillow(data: bytes, side: int) -> tuple[Image.Image, int]:
    """The first frame as RGB or L, fully decoded, of at least `side` pixels, and its EXIF orientation."""
    with quiet():
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Exception as error:
            raise _problem(data, error) from error
        limit = MAX_WIDE_PIXELS if image.format in WIDE or image.mode in WIDE else MAX_PIXELS
        if not 0 < image.width * image.height <= limit:
            raise BadImage(f"too large: {image.width} x {image.height} pixels")
        try:
            image.load()
            orientation = picture_orientation(image)
            return without_alpha(eight_bits(image), side), orientation
        except Exception as error:
            raise _problem(data, error) from error


def _resample(image: Image.Image, framing: Framing) -> Image.Image:
    """The part of `image` that is kept, at its final scale; only "pad" leaves it smaller than the square."""
    size, (width, height) = framing.size, image.size
    box = (0.0, 0.0, float(width), float(height))
    target = (size, size)
    if framing.resize == "crop":
        side = size * min(width, height) / framing.short_side
        left, top = (width - side) / 2, (height - side) / 2
        box = (max(left, 0.0), max(top, 0.0), min(left + side, float(width)), min(top + side, float(height)))
    elif framing.resize == "pad":
        scale = size / max(width, height)
        target = (max(round(width * scale), 1), max(round(height * scale), 1))
    return image.resize(target, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def _problem(data: bytes, error: Exception) -> Exception:
    return error if isinstance(error, MemoryError) else BadImage(_reason(data, error))


def _reason(data: bytes, error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return "too large: more pixels than fit in memory"
    known = what_is_wrong(data)
    if known:
        return known
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image of a known format"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "truncated"
    return _short(error)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"damaged: {text[:100]}"
