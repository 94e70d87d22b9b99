"""What a JPEG's EXIF block says about its camera and day, as Pillow writes it."""

import io

import pytest
from PIL import Image

from darkroom.images.headers import camera_and_day


def jpeg(make="", model="", time="", order=""):
    """Return a small JPEG with these tags."""
    exif = Image.Exif()
    exif.endian = order or "<"
    for tag, text in ((0x010F, make), (0x0110, model)):
        if text:
            exif[tag] = text
    if time:
        exif.get_ifd(0x8769)[0x9003] = time
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tags", "expected"),
    [(("Apple", "iPhone SE", "2021:05:01 10:11:12"), ("Apple iPhone SE", "2021:05:01")),
     (("HTC", "M8", ""), ("HTC M8", "")),
     (("", "X1", "2020:01:02 00:00:00"), ("X1", "2020:01:02")), (("", "", ""), ("", ""))],
)  # fmt: skip
def test_camera_and_day(order, tags, expected):
    assert camera_and_day(jpeg(*tags, order=order)) == expected


def test_what_is_broken_or_no_jpeg_says_nothing():
    whole = jpeg("Apple", "iPhone", "2021:05:01 10:11:12")
    assert camera_and_day(b"\x89PNG" + whole) == ("", "")
    for end in range(2, len(whole), 7):
        camera_and_day(whole[:end])
    start = whole.index(b"Exif") + 6
    for place in range(start, start + 60):
        for value in (0, 0xFF):
            camera_and_day(whole[:place] + bytes([value]) + whole[place + 1 :])
