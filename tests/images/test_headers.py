"""Sizes from headers are those of the pictures that come out of the decoder."""

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from darkroom.images.decode import decode_whole
from darkroom.images.headers import upright_size
from tests.images.pictures import encoded, photos


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_has_the_size_of_what_is_seen(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photos()[0].resize((50, 30)).save(tmp_path / "x", kind, exif=exif)
    data = (tmp_path / "x").read_bytes()
    height, width, _ = decode_whole(data, 50).shape
    assert upright_size(data) == (width, height) == ((30, 50) if orientation >= 5 else (50, 30))


def test_broken_metadata_do_not_lose_the_size():
    assert upright_size(encoded(0, "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")) == (96, 96)


def test_a_png_that_xmp_alone_turns_has_the_size_of_what_is_seen(tmp_path):
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp)
    photos()[0].resize((50, 30)).save(tmp_path / "x.png", pnginfo=text)
    data = (tmp_path / "x.png").read_bytes()
    height, width, _ = decode_whole(data, 50).shape
    assert upright_size(data) == (width, height) == (30, 50)
