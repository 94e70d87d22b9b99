"""Read from a JPEG's EXIF block by which camera and on which day it was taken."""

import struct

from darkroom.images.headers import jpeg_segments

MAKE, MODEL, EXIF_BLOCK, ORIGINAL_TIME = 0x010F, 0x0110, 0x8769, 0x9003  # tags
TEXT, NUMBER, MAX_TAGS, MAX_TEXT = 2, 4, 200, 64


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
