"""Choose the formats that Pillow may read, limit what a file may cost, and name what other files really are."""

import ctypes
import gzip
import io
import logging
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import (  # the plugins are imported by name, so that Pillow does not load all of its formats
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "PPM")  # and HEIF, see open_picture
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jpg_large", ".jpeg_large", ".jpg_orig", ".jpeg2", ".mpo", ".png", ".webp",
    ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
)  # fmt: skip
HEIF_BRANDS, AVIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), (b"avif", b"avis")
PNG = b"\x89PNG\r\n\x1a\n"
MAX_PROFILE_BYTES = 4_000_000
MAX_PIXELS = 80_000_000  # RGBA and its copy for resampling take 8 bytes a pixel: 640 MB
MAX_ROWS = 1_000_000  # Pillow needs 8 bytes a row beside the pixels: one column of 80,000,000 took 1.2 GB
MAX_WIDE_PIXELS = 40_000_000  # for WIDE formats and modes, of which Pillow keeps twice as many bytes
WIDE = ("WEBP", "AVIF", "HEIF", "I", "F")
MAX_JPEG_PIXELS = 256_000_000  # a JPEG is scaled while it is decoded: a 200-megapixel photo takes a few MB
MAX_PROGRESSIVE_PIXELS = 100_000_000  # a progressive one keeps every coefficient: up to 6 bytes a pixel
# Each scan of a JPEG goes over all of its blocks. Encoders write 1 to 15 scans or so, and libjpeg accepts any number,
# so the limit is on scans times pixels; the tables of a scan cost as much as SCAN_PIXELS pixels.
MAX_SCANNED_PIXELS, SCAN_PIXELS = 1_500_000_000, 1 << 16

# Pillow reads some parts of a file one by one in Python, and copies all earlier ones with each of some others. Encoders
# write some hundreds of segments before a JPEG's pixels at most, and into a PNG a few chunks beside those of pixels.
MAX_SEGMENTS, MAX_CHUNKS, MAX_OTHER_CHUNKS, MAX_TILES, MAX_COMMENTS = 2_000, 100_000, 5_000, 100_000, 1_000
MAX_PROFILES = 10  # chunks with a profile in a PNG, which has one: Pillow unpacks each, up to MAX_PROFILE_BYTES
FRAMES = (b"IDAT", b"fdAT", b"fcTL")  # chunks of pixels
PLAIN_PPM = (b"P1", b"P2", b"P3")
PNM, COMMENT = re.compile(rb"P[1-6]\s"), re.compile(rb"#[^\r\n]*")
MAX_HEADER = 1 << 16  # bytes of a PNM before its pixels
MAX_PLAIN_BYTES = 12_000_000  # of pixels written as text, of which Pillow reads 6 MB a second

_lock = threading.Lock()
_state: dict[str, Any] = {"inside": 0, "catcher": None}
# Pillow warns above its limit and raises above twice its limit: half of ours makes it raise at ours.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES  # it also limits profiles: those of printers have 3 MB
ImageFile.LOAD_TRUNCATED_IMAGES = False  # otherwise a missing part would be grey
LFS = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
# Other kinds of file, by their first bytes, that come under the names of pictures.
KINDS = {
    b"%PDF": "a PDF document", b"{\\rtf": "an RTF document", b"<svg": "an SVG drawing", b"8BPS": "a Photoshop file",
    b"\x1aE\xdf\xa3": "a WebM or MKV video", b"\xff\x0a": "a JPEG XL picture", b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture", b"\xffO\xffQ": "a JPEG 2000 picture", b"v/1\x01": "an OpenEXR picture",
    b"\x93NUMPY": "an array of NumPy", b"MATLAB": "a file of MATLAB", b"\x89HDF": "an HDF5 file",
    b"\0\0\1\0": "an icon of Windows", b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"Rar!": "a RAR archive; unpack it", b"\x28\xb5\x2f\xfd": "a Zstandard archive; unpack it",
}  # fmt: skip
DICOM, DICOM_AT = b"DICM", 128
JSON_STARTS = (b'{"', b"[{", b'["', b"[]", b"{}")
GZIP = b"\x1f\x8b"


def is_image_name(name: object) -> bool:
    """Return whether `name` is a text that ends in one of SUFFIXES."""
    return isinstance(name, str) and name.lower().endswith(SUFFIXES)


def open_picture(file: BinaryIO) -> Image.Image:
    """Open a picture of one of FORMATS, or HEIF, with Pillow, without reading its pixels.

    Raises what Pillow raises, and TooManyParts for a file that would keep it busy before it reaches the pixels.
    """
    head = file.read(64)
    check_parts(file)
    if head[4:8] == b"ftyp":
        brands = head[8 : int.from_bytes(head[:4], "big")]
        if any(brand in brands for brand in HEIF_BRANDS) and not any(brand in brands for brand in AVIF_BRANDS):
            _register_heif()
            return Image.open(file, formats=("HEIF",))
    try:
        image = Image.open(file, formats=FORMATS)
        if len(getattr(image, "tile", ())) > MAX_TILES:
            raise TooManyParts(f"more than {MAX_TILES:,} strips or tiles")
        return image
    except TooManyParts:
        raise
    except (ValueError, UnidentifiedImageError):
        if head[:8] != PNG:
            raise
    file.seek(0)
    return Image.open(io.BytesIO(_without_metadata(file.read())), formats=FORMATS)


class TooManyParts(ValueError):
    """A file has more parts than any encoder writes; str(error) names them."""


def check_parts(file: BinaryIO) -> None:
    """Raise TooManyParts for a JPEG, PNG or PNM of more parts than encoders write; the file is rewound."""
    file.seek(0)
    head = file.read(8)
    if head[:2] == b"\xff\xd8":
        _check_segments(file)
    elif head == PNG:
        _check_chunks(file)
    elif PNM.match(head):
        _check_header(head + file.read())
    file.seek(0)


def _check_header(data: bytes) -> None:
    """Look for the numbers at the start of a PNM, which Pillow reads byte by byte, through comments of any length."""
    numbers = COMMENT.sub(b" ", data[:MAX_HEADER]).split(maxsplit=4)
    if len(data) > MAX_HEADER and len(numbers) < (3 if data[:2] in (b"P1", b"P4") else 4):
        raise TooManyParts(f"more than {MAX_HEADER:,} bytes before the pixels")
    if data[:2] in PLAIN_PPM and data.count(b"#") > MAX_COMMENTS:
        raise TooManyParts(f"more than {MAX_COMMENTS:,} comments")
    if data[:2] in PLAIN_PPM and len(data) > MAX_PLAIN_BYTES:
        raise TooManyParts(f"pixels as text of more than {MAX_PLAIN_BYTES:,} bytes; save it in another format")


def _check_segments(file: BinaryIO) -> None:
    """Walk to a JPEG's first scan as Pillow does, which skips fill bytes and does not stop at an end marker."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        file.seek(position)
        part = file.read(4)
        if len(part) < 4 or part[0] != 0xFF or part[1] == 0xDA:
            return
        if part[1] == 0xFF:
            position += 1
        elif part[1] == 0 or 0xD0 <= part[1] <= 0xD9:  # without a length
            position += 2
        else:
            position += 2 + int.from_bytes(part[2:], "big")
    raise TooManyParts(f"more than {MAX_SEGMENTS:,} segments before the pixels")


def _check_chunks(file: BinaryIO) -> None:
    position, others, profiles = 8, 0, 0
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        part = file.read(8)
        if len(part) < 8 or part[4:] == b"IEND":
            return
        others += part[4:] not in FRAMES
        if others > MAX_OTHER_CHUNKS:
            raise TooManyParts(f"more than {MAX_OTHER_CHUNKS:,} chunks besides pixels")
        profiles += part[4:] == b"iCCP"
        if profiles > MAX_PROFILES:
            raise TooManyParts(f"more than {MAX_PROFILES} profiles")
        position += 12 + int.from_bytes(part[:4], "big")
    raise TooManyParts(f"more than {MAX_CHUNKS:,} chunks")


def _without_metadata(data: bytes) -> bytes:
    """Return a PNG without its profile and texts, which may be damaged or larger than Pillow accepts."""
    kept, position = [data[:8]], 8
    while position + 8 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in (b"iCCP", b"iTXt", b"zTXt", b"tEXt"):
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


@cache
def _register_heif() -> None:
    """Teach Pillow to read HEIF, when the first such file is opened: the import takes 0.2 s."""
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1  # pictures are decoded side by side already
    pillow_heif.register_heif_opener()


class _ScaledPnm(ImageFile.PyDecoder):
    """Scale a binary PNM's values, 0 to its own maximum, to all of 8 or 16 bits: Pillow's result, by one table.

    Pillow goes value by value in Python: a photo of 12 megapixels with 12 bits takes 9 s there and 0.15 s here.
    """

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:  # noqa: ARG002
        """Read the pixels of the whole picture; `buffer` is empty. Raises ValueError where the file ends too early."""
        maximum = self.args[-1]
        read, highest = ("u1", 255) if maximum < 256 else (">u2", 65535)
        full, written = (65535, "<i4") if self.mode == "I" else (255, "u1")
        count = self.state.xsize * self.state.ysize * Image.getmodebands(self.mode)
        assert self.fd is not None
        size = np.dtype(read).itemsize
        data = self.fd.read(count * size)
        values = np.frombuffer(data, read, len(data) // size)
        table = np.minimum(np.rint(np.arange(highest + 1) / maximum * full), full).astype(written)
        self.set_as_raw(table[values].tobytes(), "I;32" if self.mode == "I" else self.mode)
        return -1, 0


Image.register_decoder("ppm", _ScaledPnm)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Pillow's warnings: the reason of a BadImage reports what is wrong with a picture.

    Warning filters belong to the process, so the first thread that enters sets them, and the last restores them.
    """
    with _lock:
        if _state["inside"] == 0:
            _state["catcher"] = warnings.catch_warnings()
            _state["catcher"].__enter__()
            warnings.simplefilter("ignore")
        _state["inside"] += 1
    try:
        yield
    finally:
        with _lock:
            _state["inside"] -= 1
            if _state["inside"] == 0:
                _state["catcher"].__exit__(None, None, None)


def _silence_decoders() -> None:
    """Stop Pillow's log, and the libtiff in its wheels, from writing to standard error, for the whole process."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    root = Path(Image.__file__).parent
    for path in (*root.parent.glob("pillow.libs/libtiff*"), *root.glob(".dylibs/libtiff*")):
        library = ctypes.CDLL(str(path))  # the copy that Pillow has loaded, not a second one
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


_silence_decoders()


def what_is_wrong(data: bytes) -> str:
    """Return what a file is instead of a picture, by its first bytes; "" where they show no known mistake."""
    if not data:
        return "empty file"
    if data.startswith(LFS):
        return "Git LFS pointer; run `git lfs pull`"
    if data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return "an HTML or XML page, saved under this name"
    if not any(data[:4096]):
        return "only zero bytes"
    return _kind_of_file(data)


def _kind_of_file(data: bytes) -> str:
    """Return the kind of a file that is not a picture read here; "" where its first bytes are not known."""
    if data[DICOM_AT : DICOM_AT + len(DICOM)] == DICOM:
        return "a DICOM file, of a medical scanner; export it as PNG"
    if data[4:8] == b"ftyp" and not any(brand in data[8:64] for brand in (*HEIF_BRANDS, *AVIF_BRANDS)):
        return "a raw picture of a camera" if data[8:11] == b"crx" else "a video, MP4 or the like"
    if data[:4] == b"RIFF" and data[8:12] != b"WEBP":
        return "an AVI video" if data[8:11] == b"AVI" else "a RIFF file that is not WebP"
    text = b"".join(data[:64].split())
    if text.startswith(JSON_STARTS) and b"\0" not in data[:64]:
        return "JSON data"
    return next((kind for start, kind in KINDS.items() if data.startswith(start)), "")


def describe_file(path: Path) -> str:
    """Return what is wrong with a whole file, to follow "the file is", or "" when it looks sound."""
    with path.open("rb") as file:
        head = file.read(4096)
    known = what_is_wrong(head)
    if known:
        plain = {"empty file": "empty (0 bytes)", "only zero bytes": "full of zero bytes"}
        return plain.get(known, f"a {known}" if known.startswith("Git") else known)
    if head.startswith(GZIP) and not _is_whole_gzip(path):
        return f"truncated: it ends after {path.stat().st_size:,} bytes, an interrupted download"
    return ""


def _is_whole_gzip(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, OSError, zlib.error):
        return False
    return True
