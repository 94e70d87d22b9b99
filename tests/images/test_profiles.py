"""Colours of an embedded profile come out in sRGB; what phones make is read; pictures go by their content."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from darkroom.core.errors import BadImage
from darkroom.images.colour import embedded_profile
from darkroom.images.decode import decode, decode_whole
from darkroom.images.formats import SUFFIXES
from darkroom.images.framing import Framing
from darkroom.images.headers import upright_size
from tests.images.pictures import SIDE, encoded, photos
from tests.stages import pipeline

WHOLE = Framing(SIDE, "crop", SIDE)
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
D50 = np.array([0.9642, 1.0, 0.8249])


def profile(primaries, gamma: float) -> bytes:
    """Return a display's ICC profile (version 2) of these primaries (x, y), relative to D50, and one gamma."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    columns = columns * np.linalg.solve(columns, D50)
    tags = {
        name: b"XYZ \0\0\0\0" + fixed(column)
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags |= {b"wtpt": b"XYZ \0\0\0\0" + fixed(D50), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
             b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79),
             b"cprt": b"text\0\0\0\0none\0\0\0\0"}  # fmt: skip
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def fixed(values) -> bytes:
    return struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def as_seen(number: int, icc: bytes) -> np.ndarray:
    """Return the photo in sRGB, as LittleCMS itself converts it."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    converted = ImageCms.profileToProfile(photos()[number], source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return np.asarray(converted)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize(("primaries", "gamma", "least"), [(ADOBE, 2.2, 1.5), (DISPLAY_P3, 2.2, 1), (PROPHOTO, 1.8, 8)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_wide_gamut_becomes_srgb(primaries, gamma, least, kind):
    icc = profile(primaries, gamma)
    expected = as_seen(20, icc)
    assert apart(expected, np.asarray(photos()[20])) > least  # what is lost when the profile is not read
    data = encoded(20, kind, icc_profile=icc, **({"lossless": True} if kind == "WEBP" else {}), **quality(kind))
    lossy = apart(decode(encoded(20, kind, **quality(kind)), WHOLE), np.asarray(photos()[20])) if quality(kind) else 0
    for pixels in (decode(data, WHOLE), decode_whole(data, SIDE)):
        assert apart(pixels, expected) <= 0.01 + 2 * lossy  # what the format itself loses is spread, too


def quality(kind: str) -> dict[str, int]:
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    return {"quality": 97} if kind in ("JPEG", "AVIF", "HEIF") else {}


@pytest.mark.parametrize("grey", [False, True])
def test_colours_under_transparency_are_those_of_the_profile_over_the_white_of_srgb(grey):
    icc = profile(PROPHOTO, 1.8)
    icc = icc.replace(b"mntrRGB ", b"mntrGRAY").replace(b"rTRC", b"kTRC") if grey else icc
    opaque = photos()[20].convert("L" if grey else "RGB")
    half = opaque.convert("LA" if grey else "RGBA")
    half.putalpha(Image.linear_gradient("L").resize((SIDE, SIDE)))
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    seen = ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    expected = Image.composite(seen, Image.new("RGB", seen.size, "white"), half.getchannel("A"))
    out = io.BytesIO()
    half.save(out, "PNG", icc_profile=icc)
    assert apart(decode(out.getvalue(), WHOLE), np.asarray(expected)) < 0.5


def test_a_profile_of_srgb_changes_nothing():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(encoded(0, "PNG", icc_profile=icc), WHOLE), np.asarray(photos()[0]))


@pytest.mark.parametrize("icc", [b"\0", b"not a profile" * 20, profile(ADOBE, 2.2)[:200], b"\xff" * 70_000])
def test_a_broken_profile_does_not_lose_the_picture(icc):
    assert np.array_equal(decode(encoded(0, "PNG", icc_profile=icc), WHOLE), np.asarray(photos()[0]))


def test_a_profile_in_several_segments_of_a_jpeg_is_put_together():
    icc = profile(ADOBE, 2.2) + bytes(150_000)
    assert embedded_profile(encoded(0, icc_profile=icc)) == icc


def test_a_profile_of_another_mode_is_ignored():
    grey = Image.fromarray(np.asarray(photos()[0].convert("L")))
    out = io.BytesIO()
    grey.save(out, "PNG", icc_profile=profile(ADOBE, 2.2))
    assert apart(decode(out.getvalue(), WHOLE), np.asarray(grey.convert("RGB"))) < 5


def test_a_grey_profile_does_not_take_the_colours_of_a_jpeg():
    icc = profile(ADOBE, 1.8).replace(b"mntrRGB ", b"mntrGRAY").replace(b"rTRC", b"kTRC")
    assert np.array_equal(decode(encoded(20, icc_profile=icc), WHOLE), decode(encoded(20), WHOLE))
    grey = photos()[20].convert("L")
    as_jpeg, as_png = (decode(saved_grey(grey, kind, icc), WHOLE) for kind in ("JPEG", "PNG"))
    assert apart(as_jpeg, as_png) < 2 < apart(as_png, np.asarray(grey.convert("RGB")))


def saved_grey(grey: Image.Image, kind: str, icc: bytes) -> bytes:
    out = io.BytesIO()
    grey.save(out, kind, icc_profile=icc, **quality(kind))
    return out.getvalue()


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_exif_orientation_of_heic_is_not_applied_beside_the_formats_own(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality("HEIF")
    out = io.BytesIO()
    photos()[0].resize((64, 48)).save(out, "HEIF", exif=exif, quality=95)
    height, width, _ = decode_whole(out.getvalue(), 64).shape
    assert upright_size(out.getvalue()) == (width, height) == (64, 48)
    with pytest.raises(BadImage):
        decode(out.getvalue()[:-200], WHOLE)


def test_a_burst_of_a_camera_gives_its_first_picture():
    out = io.BytesIO()
    photos()[0].save(out, "MPO", save_all=True, append_images=[photos()[1]], quality=95)
    assert apart(decode(out.getvalue(), WHOLE), np.asarray(photos()[0])) < 6


def test_suffixes_of_phones_downloads_and_old_tools_are_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quality("HEIF")
    kinds = {".HEIC": "HEIF", ".heif": "HEIF", ".mpo": "JPEG", ".pnm": "PPM", ".jfif": "JPEG", ".jpg_large": "JPEG",
             ".JPEG2": "JPEG", ".Jpg": "JPEG", ".pgm": "PPM", ".hif": "HEIF"}  # fmt: skip
    for name, first in (("china", 0), ("flower", 18)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number, (suffix, kind) in enumerate(kinds.items()):
            assert suffix.lower() in SUFFIXES
            (tmp_path / f"pictures/{name}/{number}{suffix}").write_bytes(encoded(first + number, kind))
    assert pipeline.run_all(max_rejects=0).endswith("(0 set aside)")
    assert len(pipeline.index()) == 20
