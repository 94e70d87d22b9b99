"""Which way up a picture is: the EXIF orientation, read without decoding, and the picture turned by it."""

import struct

from PIL import Image, TiffImagePlugin

TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """`image` turned as its EXIF orientation says, 1..8; any other number leaves it as it is."""
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image


def jpeg_orientation(data: bytes) -> int:
    """The EXIF orientation of a JPEG, 1..8; 1 where there is none, or where the block is broken."""
    try:
        place = 2
        while data[place] == 0xFF and place < len(data):
            marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
            if marker == 0xE1 and data[place + 4 : place + 10] == b"Exif\0\0":
                return _orientation_tag(data[place + 10 : place + 2 + length])
            if marker in (0xD9, 0xDA):
                break
            place += 2 + length
    except (IndexError, struct.error):
        pass
    return 1


def _orientation_tag(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, first)
    for place in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, place)
        if tag == 0x0112 and kind == 3:
            value = int(struct.unpack_from(order + "H", tiff, place + 8)[0])
            return value if value in TRANSPOSE else 1
    return 1


def picture_orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open picture that is no JPEG, as `decode` turns it."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1  # Pillow turns a TIFF while it loads it
    try:
        return int(image.getexif().get(0x0112, 1))
    except MemoryError:
        raise
    except Exception:
        return 1  # a broken block of metadata must not lose the picture
