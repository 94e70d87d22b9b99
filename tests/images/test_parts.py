"""Pictures of millions of parts, which Pillow reads one by one, or copies with all before them: at once a reason."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, PpmImagePlugin

from darkroom.core.errors import BadImage
from darkroom.images.decode import check_format, decode, decode_grey
from darkroom.images.framing import Framing
from darkroom.images.headers import stored_size, upright_size

FRAMING = Framing(32, "crop", 36)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))


def encoded(kind: str, image: Image.Image = PICTURE, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


JPEG, INKS, PNG = encoded("JPEG"), encoded("JPEG", PICTURE.convert("CMYK")), encoded("PNG")
HEADER = 33  # bytes of a PNG before its other chunks
LONG = 600_000


def strips(count: int) -> bytes:
    """Return a TIFF of one column, each pixel of which is a strip."""
    tags = [(256, 3, 1, 1), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, count, 0)]
    tags += [(277, 3, 1, 1), (278, 3, 1, 1), (279, 4, count, 4 * count)]
    first = 8 + 2 + 12 * len(tags) + 4
    listed = b"".join(
        struct.pack("<HHII", tag, kind, number, value + first if tag in (273, 279) else value)
        for tag, kind, number, value in tags
    )
    start = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + listed + bytes(4)
    return start + struct.pack("<I", first) * count + struct.pack("<I", 1) * count


BOMBS = {
    "segments": (JPEG[:2] + segment(0xE5, b"") * LONG + JPEG[2:], "2,000 segments"),
    "segments after an end": (INKS[:2] + b"\xff\xd9" + segment(0xE5, b"") * LONG + INKS[2:], "2,000 segments"),
    "ends": (INKS[:2] + b"\xff\xd9" * LONG + INKS[2:], "2,000 segments"),
    "fill bytes": (JPEG[:2] + b"\xff" * 5_000_000 + JPEG[2:], "2,000 segments"),
    "pieces of EXIF": (INKS[:2] + segment(0xE1, b"Exif\0\0abcd") * LONG + INKS[2:], "2,000 segments"),
    "chunks": (PNG[:HEADER] + chunk(b"abCd") * LONG + PNG[HEADER:], "5,000 chunks besides pixels"),
    "a comment of 20 MB": (b"P6 #" + b"x" * 20_000_000 + b"\n4 4 255\n" + bytes(48), "65,536 bytes before the pixels"),
    "blanks": (b"P4" + b" " * 20_000_000 + b"4 4\n" + bytes(4), "65,536 bytes before the pixels"),
    "empty chunks of pixels": (PNG[:HEADER] + chunk(b"IDAT") * LONG + PNG[HEADER:], "100,000 chunks"),
    "profiles": (
        PNG[:HEADER] + chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(3 << 20))) * 4000 + PNG[HEADER:],
        "10 profiles",
    ),
    "comments": (b"P2\n64 64\n255\n" + b"#\n" * 2_000_000 + b"1 " * 4096, "1,000 comments"),
    "pixels as text": (b"P2\n4000 4000\n255\n" + b"1 " * 6_500_000, "12,000,000 bytes"),
    "strips": (strips(200_000), "100,000 strips or tiles"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_of_very_many_parts_is_a_reason_before_it_is_work(tmp_path, name):
    data, reason = BOMBS[name]
    (tmp_path / "picture").write_bytes(data)
    started = time.process_time()
    for read in (lambda: decode(data, FRAMING), lambda: decode_grey(data, 9)):
        with pytest.raises(BadImage, match=f"too many parts: .*more than {reason}"):
            read()
    with (tmp_path / "picture").open("rb") as file, pytest.raises(BadImage, match=f"more than {reason}"):
        check_format(file)
    upright_size(data)
    stored_size(data)
    assert time.process_time() - started < 15  # each took from half a minute to hours, on a faster machine


def test_what_encoders_write_is_far_below_the_bounds():
    profile = bytes(3_000_000)
    files = [
        JPEG[:2] + segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65000)) * 500 + JPEG[2:],
        encoded("JPEG", icc_profile=profile),
        encoded("PNG", icc_profile=profile),
        PNG[:HEADER] + chunk(b"tEXt", b"key\0text") * 1000 + PNG[HEADER:],
        b"P2\n# by GIMP\n64 64\n255\n" + b"1 " * 4096,
        strips(4000),
    ]
    for data in files:
        assert decode(data, FRAMING).shape == (32, 32, 3)


def test_a_picture_of_one_column_and_millions_of_rows_is_rejected_before_its_rows_take_memory():
    rows = 3_000_000
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, rows, 8, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(2 * rows))) + chunk(b"IEND")
    with pytest.raises(BadImage, match="too large: 1 x 3000000 pixels"):
        decode(data, Framing(16, "crop", 16))


@pytest.mark.parametrize(
    ("kind", "maximum"), [("P5", 7), ("P5", 4095), ("P5", 65534), ("P6", 100), ("P6", 1000), ("P6", 65535)]
)
def test_a_pnm_with_a_maximum_of_its_own_is_read_as_pillow_reads_it(kind, maximum, monkeypatch):
    values = np.random.default_rng(0).integers(0, 256 if maximum < 256 else 65536, (30, 40, 1 if kind == "P5" else 3))
    pixels = values.astype("u1" if maximum < 256 else ">u2").tobytes()
    header = f"{kind} 40 30 {maximum}\n".encode()
    ours = Image.open(io.BytesIO(header + pixels))
    ours.load()
    with pytest.raises(ValueError, match="not enough image data"):
        Image.open(io.BytesIO(header + pixels[:-7])).load()
    monkeypatch.setitem(Image.DECODERS, "ppm", PpmImagePlugin.PpmDecoder)
    theirs = Image.open(io.BytesIO(header + pixels))
    theirs.load()
    assert (ours.mode, ours.tobytes()) == (theirs.mode, theirs.tobytes())
