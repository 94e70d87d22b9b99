"""The work of a JPEG is bounded by its scans and pixels, before anything is decoded."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import BadImage
from darkroom.images.decode import decode, decode_grey, decode_whole
from darkroom.images.formats import MAX_SCANNED_PIXELS, SCAN_PIXELS
from darkroom.images.framing import Framing
from darkroom.images.headers import count_scans, scanned_pixels
from tests.images.pictures import encoded, photos

SMALL = Framing(32, "crop", 32)
REASON = r"too many scans for \d+ x \d+ pixels: decoding it would take very long"


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def many_scans(width: int, height: int, scans: int, fill: bytes = b"") -> bytes:
    """Return a grey progressive JPEG whose every scan says in a few bits that no block has a coefficient (an
    end-of-band run).

    `fill`: bytes before each marker, as an encoder may write them.
    """
    blocks = -(-width // 8) * -(-height // 8)
    head = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    head += segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\0")
    head += segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")  # direct current: one code, of no difference
    head += segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0")  # a run of 2 ** 14 blocks and 14 bits more
    runs = -(-blocks // 32767)
    lengths = [blocks // runs + (number < blocks % runs) for number in range(runs)]
    assert all(length >= 16384 for length in lengths)
    first = segment(0xDA, b"\x01\x01\0\0\0\0") + packed("0" * blocks)
    other = fill + segment(0xDA, b"\x01\x01\0\x01\x3f\0") + packed(
        "".join("0" + format(length - 16384, "014b") for length in lengths)
    )  # fmt: skip
    return head + first + other * scans + b"\xff\xd9"


def packed(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


@pytest.mark.parametrize(("side", "scans"), [(1100, 20_000), (2000, 2000), (4000, 1000), (1032, 60_000)])
@pytest.mark.parametrize("fill", [b"", b"\xff\xff"])
def test_thousands_of_scans_are_a_reason(side, scans, fill):
    data = many_scans(side, side, scans, fill)
    assert len(data) < 2_000_000
    for read in (lambda: decode(data, SMALL), lambda: decode_grey(data, 32), lambda: decode_whole(data, 64)):
        with pytest.raises(BadImage, match=REASON):
            read()


def test_scans_that_the_fast_decoder_leaves_to_pillow_are_counted_too():
    data = many_scans(2000, 2000, 2000).replace(b"\xff\xd8", b"\xff\xd8" + segment(0xEE, b"Adobe\0\x64\0\0\0\0\2"), 1)
    with pytest.raises(BadImage, match=REASON):
        decode(data, SMALL)
    tiff = io.BytesIO()
    Image.new("L", (64, 64)).save(tiff, "TIFF", compression="jpeg")
    assert decode(tiff.getvalue(), SMALL).shape == (32, 32, 3)


def test_what_an_encoder_writes_is_far_below_the_bound():
    photo = Image.fromarray(np.asarray(photos()[0])).resize((800, 800))
    out = io.BytesIO()
    photo.save(out, "JPEG", progressive=True, quality=90)
    assert 8 <= count_scans(out.getvalue()) <= 12
    assert scanned_pixels(out.getvalue(), 100_000_000) <= MAX_SCANNED_PIXELS  # the largest progressive one allowed
    assert scanned_pixels(encoded(0), 96 * 96) == 96 * 96 + SCAN_PIXELS
    assert decode(many_scans(2000, 2000, 100), SMALL).shape == (32, 32, 3)


def test_a_film_behind_the_picture_is_not_counted():
    film = np.random.default_rng(0).integers(0, 256, 4_000_000, np.uint8).tobytes()
    data = encoded(0) + film + b"\xff\xda" * 30_000
    assert scanned_pixels(data, 96 * 96) == 96 * 96 + SCAN_PIXELS
    assert np.array_equal(decode(data, SMALL), decode(encoded(0), SMALL))


def test_the_shared_generator_is_bounded(shared, tmp_path):
    import importlib.util

    spec = importlib.util.spec_from_file_location("jpeg_scans", shared / "cases/hostile/jpeg_scans.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(BadImage, match=REASON):
        decode(module.make(3000, 3000, 4000), SMALL)
