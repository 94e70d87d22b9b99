"""Arrays as image files: a data set that comes as arrays is kept as PNGs in one zip and read like any other."""

import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from darkroom.core import files

EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first moment: a real time would change the archive's hash


def png(pixels: np.ndarray) -> bytes:
    """A PNG of (h, w) or (h, w, 3) uint8, lossless and not compressed: its bytes depend on the pixels alone.

    A compressing encoder's bytes depend on its version, and a sample's id is the digest of its bytes.
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _stored(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def write_pictures(path: Path, pictures: Iterable[tuple[str, np.ndarray]]) -> int:
    """A zip of PNGs, (name without suffix, pixels) each, stored, written atomically; returns how many."""
    count = 0
    with files.atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, pixels in pictures:
            archive.writestr(zipfile.ZipInfo(f"{name}.png", EPOCH), png(pixels))
            count += 1
    return count


def _stored(data: bytes) -> bytes:
    """A zlib stream (RFC 1950) of stored blocks: no compression."""
    blocks = [data[start : start + 65535] for start in range(0, len(data), 65535)] or [b""]
    body = b"".join(
        struct.pack("<BHH", place == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for place, block in enumerate(blocks)
    )
    return b"\x78\x01" + body + struct.pack(">I", zlib.adler32(data))
