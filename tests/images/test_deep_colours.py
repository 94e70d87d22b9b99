"""Colours of 16 bits, of which Pillow keeps the high bytes, and PNGs with profiles that are damaged or too large."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import BadImage
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.headers import upright_size
from darkroom.images.levels import INTEGERS, common_levels, file_range
from tests.images.pictures import photos

SIDE = 96
COLOURS = {2: 4, 3: 2, 4: 6}  # PNG's colour types of grey with alpha, RGB and RGBA


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(values, more=()):
    """Return a PNG of 8 or 16 bits from values (h, w, 2 to 4) uint8 or uint16, and chunks between its header and
    pixels."""
    height, width, channels = values.shape
    depth = 8 * values.dtype.itemsize
    rows = b"".join(b"\0" + row.astype(f">u{values.dtype.itemsize}").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, depth, COLOURS[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*one) for one in ((b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))  # fmt: skip


def tiff(values, order="<", deflated=False, planar=False):
    """Return a TIFF of 16-bit RGB in one strip, in either byte order, plain or deflated, its colours together or
    apart."""
    height, width, channels = values.shape
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if deflated else data
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, None), (259, 3, 1, 8 if deflated else 1), (262, 3,
        1, 2),
               (273, 4, 1, None), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data)),
               (284, 3, 1, 1 + planar)]  # fmt: skip
    depths_at = 8 + 2 + 12 * len(entries) + 4
    known = {258: depths_at, 273: depths_at + 6}
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        number = known.get(tag, value)
        packed = struct.pack(f"{order}HH", number, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", number)
        out += struct.pack(f"{order}HHI", tag, kind, count) + packed
    return out + struct.pack(f"{order}I", 0) + struct.pack(f"{order}3H", 16, 16, 16) + data


def of_bits(bits, number=0):
    """Return a real photo in the lowest `bits` of 16, (96, 96, 3) uint16, and its 8-bit values."""
    photo = np.asarray(photos()[number])
    return np.rint(photo / 255 * (2**bits - 1)).astype(np.uint16), photo


WRITERS = {
    "png": png,
    "png with alpha": lambda values: png(np.dstack([values, np.full((SIDE, SIDE, 1), 65535, np.uint16)])),
    "tiff": tiff,
    "tiff, big endian": lambda values: tiff(values, ">"),
    "tiff, deflated": lambda values: tiff(values, "<", True),
    "tiff, deflated and big endian": lambda values: tiff(values, ">", True),
}


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_colours_of_fewer_bits_than_their_file_keep_their_levels(bits, write):
    files = [write(of_bits(bits, number)[0]) for number in range(3)]
    levels, notes = common_levels([file_range(data) for data in files])
    assert levels == {INTEGERS: (0.0, 2.0**bits - 1)}
    assert notes == [f"3 pictures of more than 8 bits: values from 0 to {2**bits - 1} become 0 to 255"]
    pixels = decode(files[0], Framing(SIDE, "stretch", SIDE, **levels))
    assert np.abs(pixels.astype(float) - of_bits(bits)[1]).mean() < 1


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_grey_with_transparency_keeps_its_levels_and_lies_on_white(bits):
    grey = of_bits(bits)[0][..., 1]
    alpha = np.full_like(grey, 65535)
    alpha[: SIDE // 2] = 0
    data = png(np.dstack([grey, alpha]))
    levels, _ = common_levels([file_range(data)])
    assert levels == {INTEGERS: (0.0, 2.0**bits - 1)}
    pixels = decode(data, Framing(SIDE, "stretch", SIDE, **levels))
    assert (pixels[: SIDE // 2] == 255).all()
    seen, wanted = (values[SIDE // 2 :].astype(float) for values in (pixels, of_bits(bits)[1][..., 1:2]))
    assert np.abs(seen - wanted).max() <= 1


def test_colours_of_all_bits_are_their_high_bytes():
    values, _ = of_bits(16)
    assert np.array_equal(decode(png(values), Framing(SIDE, "stretch", SIDE, integers=(0.0, 65535.0))), values >> 8)


def test_colours_that_lie_apart_are_a_reason_and_no_noise():
    with pytest.raises(BadImage, match="a TIFF of channels or bits that are not read: export it as grey or RGB"):
        decode(tiff(of_bits(12)[0], planar=True), Framing(SIDE, "stretch", SIDE))


def test_channels_that_are_not_read_are_a_reason():
    with pytest.raises(BadImage, match="a TIFF of channels or bits that are not read: export it as grey or RGB"):
        decode(tiff(np.dstack([of_bits(12)[0]] * 2)), Framing(SIDE, "stretch", SIDE))


def test_sixteen_bits_of_which_zero_is_white_are_no_negative():
    grey = of_bits(16)[0][..., 1]
    out = io.BytesIO()
    Image.fromarray(65535 - grey).save(out, "TIFF", tiffinfo={262: 0})
    pixels = decode(out.getvalue(), Framing(SIDE, "stretch", SIDE, integers=(0.0, 65535.0)))
    assert np.abs(pixels[..., 0].astype(float) - (grey >> 8)).max() <= 1


def test_a_picture_alone_is_scaled_by_its_own_bits():
    values, photo = of_bits(12)
    assert np.abs(decode(png(values), Framing(SIDE, "stretch", SIDE)).astype(float) - photo).mean() < 1


PROFILES = {
    "of 20 MB when unpacked": b"x\0\0" + zlib.compress(bytes(20_000_000)),
    "that grows a thousandfold": b"x\0\0" + zlib.compress(bytes(100_000_000)),
    "that is no profile": b"x\0\0" + zlib.compress(b"not a profile"),
    "that does not unpack": b"x\0\0abcdefgh",
    "cut short": b"x\0\0" + zlib.compress(bytes(range(256)) * 9)[:20],
    "without its name's end": b"x",
    "empty": b"",
}


@pytest.mark.parametrize("content", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("deep", [False, True])
def test_a_png_keeps_its_picture_whatever_its_profile_is(content, deep):
    photo = np.asarray(photos()[0])
    values = photo.astype(np.uint16) * 257 if deep else photo
    data = png(values, [(b"iCCP", content)])
    assert np.array_equal(decode(data, Framing(SIDE, "stretch", SIDE)), photo)
    assert upright_size(data) == (SIDE, SIDE)


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt"])
def test_a_png_keeps_its_picture_whatever_its_texts_are(name):
    text = b"x\0" + (b"\1\0\0\0" if name == b"iTXt" else b"\0") + zlib.compress(bytes(20_000_000))
    photo = np.asarray(photos()[0])
    assert np.array_equal(decode(png(photo, [(name, text)]), Framing(SIDE, "stretch", SIDE)), photo)
