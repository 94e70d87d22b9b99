"""Read data sets that come as arrays (MNIST's format, pickles, scikit-learn's digits), and write a zip of PNGs."""

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from darkroom.core import files
from darkroom.core.errors import SourceError

EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first moment: a real time would change the archive's hash
FIELD, INK = 28, 20  # pixels: MNIST's ink is within 20 x 20, its centre of mass in the middle of 28 x 28


def png(pixels: np.ndarray) -> bytes:
    """Return an uncompressed PNG of pixels (h, w) or (h, w, 3) uint8.

    Compressed bytes would depend on the encoder's version, and a sample's id is the digest of its bytes.
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)  # each row begins with the number of its filter, 0: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _stored(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def write_pictures(path: Path, pictures: Iterable[tuple[str, np.ndarray]]) -> int:
    """Write a zip of PNGs, given as (name without suffix, pixels), atomically; return how many there were."""
    count = 0
    with files.atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, pixels in pictures:
            archive.writestr(zipfile.ZipInfo(f"{name}.png", EPOCH), png(pixels))
            count += 1
    return count


def _stored(data: bytes) -> bytes:
    """Return a zlib stream (RFC 1950) of stored blocks: no compression."""
    blocks = [data[start : start + 65535] for start in range(0, len(data), 65535)] or [b""]
    body = b"".join(
        struct.pack("<BHH", index == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for index, block in enumerate(blocks)
    )
    return b"\x78\x01" + body + struct.pack(">I", zlib.adler32(data))


def digits() -> Iterator[tuple[str, np.ndarray]]:
    """Yield (class/number, pixels (28, 28) uint8, white on black) of scikit-learn's digits, in their order.

    Reads its table of 64 values of ink and a label a row; to import the package would cost more than all of fetch.
    """
    package = find_spec("sklearn")
    assert package is not None, "a requirement of the pipeline"
    assert package.origin is not None
    table = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    for number, row in enumerate(table):
        yield f"{int(row[64])}/{number:04d}", draw(row[:64].reshape(8, 8))


def draw(scan: np.ndarray) -> np.ndarray:
    """Return a scan (8, 8) of ink 0..16 in MNIST's form: (28, 28) uint8."""
    ink = np.rint(scan * (255 / 16)).astype(np.uint8)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = INK / max(ink.shape)
    size = max(round(ink.shape[1] * scale), 1), max(round(ink.shape[0] * scale), 1)
    large = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC))
    weights = large / large.sum()
    middle = [float((weights.sum(axis=1 - axis) * np.arange(large.shape[axis])).sum()) for axis in (0, 1)]
    top, left = (min(max(round(FIELD / 2 - 0.5 - middle[axis]), 0), FIELD - large.shape[axis]) for axis in (0, 1))
    field = np.zeros((FIELD, FIELD), np.uint8)
    field[top : top + large.shape[0], left : left + large.shape[1]] = large
    return field


def idx(data: bytes, name: str) -> np.ndarray:
    """Return the array in data of MNIST's format: two zeros, the type (8: uint8), number of axes, sizes, values.

    Raises SourceError for another format.
    """
    if data[:3] != b"\0\0\x08":
        raise SourceError(f"{name}: not in MNIST's format, which begins with the bytes 0 0 8; download it again")
    shape = np.frombuffer(data, ">u4", data[3], 4).tolist()
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


class _ArraysOnly(pickle.Unpickler):
    """Unpickle numbers, texts, lists and numpy arrays, and reject everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the few functions that arrays are made with."""
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if module.endswith("core.multiarray") and name == "_reconstruct":
            return lambda cls, shape, kind: np.ndarray.__new__(cls, shape, kind)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, _: text.encode("latin1")
        raise SourceError(f"a pickle asks for {module}.{name}; only arrays are read: download it again")


def unpickled(data: bytes) -> Any:
    """Return the value in a pickle. Raises SourceError for anything but plain values and arrays."""
    return _ArraysOnly(io.BytesIO(data), encoding="latin1").load()
