"""The size of a picture from its header, without decoding: indexing keeps up with hashing."""

import io
import struct

from PIL import Image

from darkroom.images.decode import FORMATS
from darkroom.images.orientation import jpeg_orientation, picture_orientation
from darkroom.images.quiet import quiet


def upright_size(data: bytes) -> tuple[int, int]:
    """(width, height) as a person sees it, EXIF orientation applied; (0, 0) when the header cannot be read."""
    try:
        if data[:2] == b"\xff\xd8":
            width, height = _jpeg_size(data)
            return (height, width) if jpeg_orientation(data) >= 5 else (width, height)
        if data[:8] == b"\x89PNG\r\n\x1a\n" and b"eXIf" not in data and b"XML:com.adobe.xmp" not in data:
            return struct.unpack_from(">II", data, 16)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return struct.unpack_from("<HH", data, 6)
        with quiet(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return (image.height, image.width) if 5 <= picture_orientation(image) <= 8 else image.size
    except MemoryError:
        raise
    except Exception:
        return 0, 0  # preprocess decodes the file and says why it cannot


def _jpeg_size(data: bytes) -> tuple[int, int]:
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return 0, 0
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    return 0, 0
