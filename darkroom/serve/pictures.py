"""Turn pictures that a Python program holds into the bytes of a file, and write answers on pictures."""

import io
import os
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from darkroom.core import files
from darkroom.core.errors import BadImage, DarkroomError, NoMemory
from darkroom.images.decode import decode_whole

# How pixels of each of Pillow's modes become a file: PNG cannot hold 32 bits or floats, and TIFF no transparent colour.
AS_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
AS_TIFF = ("I", "F", "I;16B")
CONVERTED = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA", "I;16L": "I", "I;16N": "I"}  # others: RGB
ORIENTATION = 0x0112  # the EXIF tag
SIDE = 1024  # the longer side at most
LEAST = 224  # the shorter side at least: the words must fit
LONGEST = 180  # bytes of a name: file systems take 255, and its temporary file's is longer


class Pictures:
    """Write into `folder`, one JPEG a picture, named after its file; two files of one name get two pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()

    def save(self, name: str, data: bytes, caption: str) -> Path:
        """Write `caption` under the picture in `data`.

        Raises BadImage where it cannot be decoded once more (there may be less memory now), and DarkroomError where the
        folder cannot be written to.
        """
        target = self.folder / self._name(name)
        file = io.BytesIO()
        draw(open_upright(data), caption).save(file, "JPEG", quality=90)
        try:
            files.write_bytes(target, file.getvalue())
        except OSError as error:
            reason = f"--save-pictures {self.folder}: cannot write {target.name}: {error.strerror}; name another folder"
            raise DarkroomError(reason) from error
        return target

    def _name(self, name: str) -> str:
        stem = os.fsencode(PurePath(name).stem if name != "-" else "stdin").decode(errors="replace")
        stem = stem.encode()[:LONGEST].decode(errors="ignore")
        taken, number = stem, 1
        while taken.lower() in self._taken:
            number += 1
            taken = f"{stem}-{number}"
        self._taken.add(taken.lower())
        return f"{taken}.jpg"


def open_upright(data: bytes) -> Image.Image:
    """Return RGB, upright, at most SIDE on its longer side and, enlarged in blocks, at least LEAST on its shorter one.

    Decoded as the model's input is, so that whatever could be classified can be drawn.
    """
    image = Image.fromarray(decode_whole(data, SIDE))
    blocks = min(-(-LEAST // min(image.size)), SIDE // max(image.size))
    if blocks > 1:
        image = image.resize((image.width * blocks, image.height * blocks), Image.Resampling.NEAREST)
    return image


def draw(image: Image.Image, text: str) -> Image.Image:
    """Return `image` with `text` in a bar under it: what is in the picture stays visible."""
    from PIL import ImageDraw

    size = max(14, min(image.width // 14, 40))
    font = _font(size)
    while font.getlength(text) > image.width - size and size > 10:
        size -= 1
        font = _font(size)
    out = Image.new("RGB", (image.width, image.height + size * 2), (24, 24, 27))
    out.paste(image)
    ImageDraw.Draw(out).text((size // 2, image.height + size), text, (255, 255, 255), font, anchor="lm")
    return out


def drawable(name: str, number: int) -> str:
    """Return a class's name as `draw` can write it.

    What its font lacks (Chinese) is left out, and the class's number, which is its line in labels.txt, comes first.
    """
    if name.isascii():
        return name
    font = _font(16)
    lacking = bytes(font.getmask("\U0010ffff"))  # no character: the box that stands for all that the font lacks
    kept = "".join(char if char.isascii() or bytes(font.getmask(char)) != lacking else " " for char in name)
    return name if kept == name else " ".join([f"#{number}", *kept.split()])


@cache
def _font(size: int) -> Any:
    """Return matplotlib's DejaVu Sans where it is installed, otherwise Pillow's own font, which knows ASCII alone."""
    from PIL import ImageFont  # takes 20 ms, and few calls draw

    spec = find_spec("matplotlib")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        with suppress(OSError):
            return ImageFont.truetype(f"{folder}/mpl-data/fonts/ttf/DejaVuSans.ttf", size)
    return ImageFont.load_default(size)


def picture_bytes(image: Any) -> bytes:
    """Return a path's, a Pillow image's or an array's picture as the bytes of a file, so that one decoder reads all.

    Raises BadImage with the reason where it is not a picture.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise BadImage(f"{image}: {error.strerror}") from error
    if isinstance(image, np.ndarray):
        image = _of_array(image)
    if not isinstance(image, Image.Image):
        raise BadImage(f"{type(image).__name__} is not a picture; expected a path, bytes, a Pillow image or an array")
    try:
        return _encoded(image)
    except MemoryError as error:
        raise NoMemory("not enough memory") from error
    except BadImage:
        raise
    except Exception as error:  # Pillow looks at a file's pixels, and misses its file, only now
        what = str(error) or type(error).__name__
        raise BadImage("truncated" if "truncated" in what else f"damaged or closed: {what}") from error


def _of_array(array: np.ndarray) -> Image.Image:
    with suppress(TypeError, ValueError):
        if array.size and array.ndim in (2, 3):
            return Image.fromarray(array)
    expected = "expected uint8 (h, w, 3), 0 to 255, with at least one pixel"
    raise BadImage(f"an array of {array.dtype} and shape {array.shape} is not a picture; {expected}")


def _encoded(image: Image.Image) -> bytes:
    """Return a lossless file with its EXIF orientation, so that every picture goes through the same decoder."""
    if 0 in image.size:
        raise BadImage(
            f"a Pillow image of {image.width} x {image.height} pixels is not a picture; expected at least one"
        )
    image.load()
    exif = Image.Exif()
    with suppress(Exception):  # a broken block of metadata, which the decoder ignores too
        exif[ORIENTATION] = int(image.getexif().get(ORIENTATION, 1))
    if image.mode not in AS_PNG and image.mode not in AS_TIFF:
        image = image.convert(CONVERTED.get(image.mode, "RGB"))
    file = io.BytesIO()
    if image.mode in AS_TIFF:
        image.copy().save(file, "TIFF", exif=exif)  # a copy, which has left the tags of its file behind
    else:
        image.save(file, "PNG", exif=exif, compress_level=1)
    return file.getvalue()
