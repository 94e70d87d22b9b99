"""Read a picture's size, orientation, camera and day, and the work of decoding it, from its bytes without decoding."""

import io
import re
import struct
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image, TiffImagePlugin

from darkroom.core.errors import NoMemory
from darkroom.images.formats import MAX_SCANNED_PIXELS, MAX_SEGMENTS, PNG, SCAN_PIXELS, open_picture, quiet

JPEG = b"\xff\xd8"
ORIENTATION = 0x0112  # the EXIF tag
TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SCAN = 0xDAFF  # the marker FF DA as a number, low byte first
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte, a restart within a scan, nor a fill byte
SOF_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
MAKE, MODEL, EXIF_BLOCK, ORIGINAL_TIME = 0x010F, 0x0110, 0x8769, 0x9003  # tags
TEXT, NUMBER, MAX_TAGS, MAX_TEXT = 2, 4, 200, 64


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return `image` turned upright by its EXIF orientation 1..8; any other number leaves it as it is."""
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image


def upright_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) with the EXIF orientation applied, as `decode` shows it; (0, 0) for a broken header."""
    try:
        if data[:2] == JPEG:
            width, height = _jpeg_size(data)
            return (height, width) if jpeg_orientation(data) >= 5 else (width, height)
        if data[:8] == PNG and b"eXIf" not in data and b"XML:com.adobe.xmp" not in data:
            return struct.unpack_from(">II", data, 16)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return struct.unpack_from("<HH", data, 6)
        with quiet(), open_picture(io.BytesIO(data)) as image:
            return (image.height, image.width) if 5 <= picture_orientation(image) <= 8 else image.size
    except MemoryError:
        raise
    except Exception:
        return 0, 0  # preprocess decodes the file and reports the reason


def stored_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) before the picture is turned upright; (0, 0) for a broken header. Raises NoMemory.

    The decoders themselves read it, so that a limit on memory holds for what they would allocate.
    """
    try:
        if data[:2] == JPEG:
            try:
                height, width, _, _ = simplejpeg.decode_jpeg_header(data)
                return width, height
            except ValueError:
                pass  # `decode` leaves it to Pillow, too
        with quiet(), open_picture(io.BytesIO(data)) as image:
            return image.size
    except MemoryError as error:
        raise NoMemory("not enough memory") from error
    except Exception:
        return 0, 0


def jpeg_orientation(data: bytes) -> int:
    """Return the EXIF orientation of a JPEG, 1..8; 1 where there is none, or where the block is broken."""
    try:
        for marker, start, end in jpeg_segments(data):
            if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
                return _orientation_tag(data[start + 6 : end])
    except struct.error:
        pass
    return 1


def is_progressive(data: bytes) -> bool:
    """Return whether a JPEG is progressive: decoding it keeps every coefficient in memory."""
    return any(marker in SOF_PROGRESSIVE for marker, _, _ in jpeg_segments(data))


def scanned_pixels(data: bytes, pixels: int) -> int:
    """Return an upper bound of the pixels that the scans of a JPEG of `pixels` go over: the work of decoding it.

    Scans in what follows the picture (a film, another picture) count only while the sum is within MAX_SCANNED_PIXELS.
    """
    scan = pixels + SCAN_PIXELS
    work = count_scans(data) * scan  # fast; includes thumbnails and appended data, and is mostly far below the limit
    return work if work <= MAX_SCANNED_PIXELS else _scans(data, MAX_SCANNED_PIXELS // scan + 1) * scan


def count_scans(data: bytes) -> int:
    """Count the scan markers anywhere in `data`, in a fifth of the time of bytes.count."""
    words = (np.frombuffer(data, "<u2", (len(data) - first) // 2, first) for first in (0, 1))
    return sum(int(np.count_nonzero(pairs == SCAN)) for pairs in words)


def _scans(data: bytes, most: int) -> int:
    """Count a JPEG's scans up to `most` as a decoder finds them, from marker to marker, to the end of the image."""
    count, position = 0, 2
    while count < most and (found := MARKER.search(data, position)):
        position, marker = found.start(), data[found.start() + 1]
        if marker == 0xD9:
            break
        count += marker == 0xDA
        position += 2 + (0 if marker in (0x01, 0xD8) else int.from_bytes(data[position + 2 : position + 4], "big"))
    return count


def picture_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation by which `decode` turns an open picture that is not a JPEG."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1  # Pillow turns a TIFF when it loads it
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:
        return 1  # a broken block of metadata must not lose the picture


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end of the content) of the first segments of a JPEG's header, up to its first scan."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        if position + 4 > len(data) or data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in (0xD9, 0xDA):
            return
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, position + 4, end
        position = end


def _jpeg_size(data: bytes) -> tuple[int, int]:
    for marker, start, _ in jpeg_segments(data):
        if marker in SOF:
            height, width = struct.unpack_from(">HH", data, start + 1)
            return width, height
    return 0, 0


def _orientation_tag(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, first)
    for offset in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, offset)
        if tag == ORIENTATION and kind == 3:
            value = int(struct.unpack_from(order + "H", tiff, offset + 8)[0])
            return value if value in TRANSPOSE else 1
    return 1


def camera_and_day(data: bytes) -> tuple[str, str]:
    """Return the make and model of the camera, and the day as 2021:05:01; "" for what a file does not say."""
    try:
        for marker, start, end in jpeg_segments(data) if data[:2] == b"\xff\xd8" else ():
            if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
                return _camera_and_day(data[start + 6 : end])
    except (struct.error, ValueError):
        pass  # a broken block
    return "", ""


def _camera_and_day(tiff: bytes) -> tuple[str, str]:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return "", ""
    first = _tags(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])
    camera = " ".join(filter(None, (first.get(MAKE, ""), first.get(MODEL, ""))))
    block = first.get(EXIF_BLOCK, "")
    time = _tags(tiff, order, int(block)).get(ORIGINAL_TIME, "") if block else ""
    return camera, time[:10]


def _tags(tiff: bytes, order: str, start: int) -> dict[int, str]:
    """Return the values that count, by tag, of the block of tags at `start`."""
    found = {}
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for offset in range(start + 2, start + 2 + 12 * min(count, MAX_TAGS), 12):
        tag, kind, size, value = struct.unpack_from(order + "HHII", tiff, offset)
        if tag in (MAKE, MODEL, ORIGINAL_TIME) and kind == TEXT:
            begin = value if size > 4 else offset + 8
            text = tiff[begin : begin + min(size, MAX_TEXT)].split(b"\0")[0]
            found[tag] = text.decode("ascii", errors="replace").strip()
        elif tag == EXIF_BLOCK and kind == NUMBER:
            found[tag] = str(value)
    return found
