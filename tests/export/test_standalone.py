"""The file that an export carries to be used without Darkroom sees pictures as Darkroom does."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from sklearn.datasets import load_sample_image

from darkroom.export.standalone import pixels_of
from darkroom.images.decode import decode
from darkroom.images.framing import Framing

FRAMINGS = [
    Framing(48, "crop", 56), Framing(48, "pad", 48), Framing(48, "stretch", 48), Framing(224, "crop", 256),
    Framing(48, "squash", 56), Framing(48, "border", 40, "bicubic", (10, 20, 30)), Framing(48, "crop", 56, "lanczos"),
]  # fmt: skip


def saved(kind: str, orientation: int = 1, mode: str = "RGB", **options: Any) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(load_sample_image("china.jpg")).crop((0, 0, 411, 303)).convert(mode)
    image.save(file, kind, exif=exif, **options)
    return file.getvalue()


def assert_same(data: bytes, framing: Framing) -> None:
    expected = decode(data, framing).astype(np.int16)
    found = pixels_of(data, framing.facts() | {"short_side": framing.short_side})[0]
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found - expected).mean() < 0.02


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: f"{framing.resize} {framing.interpolation}")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_framing(framing, kind):
    assert_same(saved(kind), framing)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation):
    assert_same(saved("JPEG", orientation), FRAMINGS[0])


def test_grey_pictures_and_colour_profiles():
    assert_same(saved("JPEG", mode="L"), FRAMINGS[0])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert_same(saved("JPEG", icc_profile=profile), FRAMINGS[0])
