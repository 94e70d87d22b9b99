"""Bytes to pixels: every kind of file gives the picture or a reason, never anything else."""

import io
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.core.errors import BadImage
from darkroom.images.decode import decode, decode_grey
from darkroom.images.framing import Framing
from darkroom.images.headers import jpeg_orientation, upright_size
from tests.images.pictures import METADATA_ALONE, SIDE, encoded, photos

PHOTO = Framing(64, "crop", 64)
ROOT = Path(__file__).parents[2]


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


LOSSLESS = [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True}),
            ("PPM", {})]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_formats_of_the_right_size_come_out_as_they_are(kind, options):
    pixels = decode(saved(photos()[0], kind, **options), Framing(SIDE, "crop", SIDE))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.asarray(photos()[0]))


LOSSY = [("JPEG", {"quality": 95}), ("JPEG", {"progressive": True}), ("JPEG", {"subsampling": 0}), ("WEBP", {}),
         ("GIF", {}), ("AVIF", {})]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), LOSSY)
def test_lossy_formats_come_out_nearly_as_they_are(kind, options):
    pixels = decode(saved(photos()[0], kind, **options), Framing(SIDE, "crop", SIDE))
    assert difference(pixels, np.asarray(photos()[0])) < 8


def test_a_scaled_jpeg_looks_like_a_fully_decoded_one():
    photo = Image.fromarray(np.asarray(photos()[2])).resize((1200, 900), Image.Resampling.BICUBIC)
    scaled = decode(saved(photo, "JPEG", quality=95), PHOTO)
    full = photo.resize((85, 64), Image.Resampling.BILINEAR).crop((10, 0, 74, 64))
    assert difference(scaled, np.asarray(full)) < 2


@pytest.mark.parametrize("height", [642, 645, 647])
def test_a_scaled_jpeg_is_not_stretched_where_its_sides_are_rounded_up(height):
    """Fine noise shows a shift of half a pixel, which smooth photos hide."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 101), np.uint8)
    photo = Image.fromarray(noise).resize((812, height), Image.Resampling.BICUBIC).convert("RGB")
    jpeg, framing = saved(photo, "JPEG", quality=95), Framing(224, "crop", 235, "bicubic")
    assert difference(decode(jpeg, framing), decode(saved(Image.open(io.BytesIO(jpeg)), "PNG"), framing)) < 0.5


def test_crop_cuts_the_middle():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    assert (decode(saved(wide, "PNG"), Framing(50, "crop", 50))[:, 1:-1] == (0, 0, 255)).all()


def test_crop_leaves_a_margin_of_the_short_side():
    ring = Image.new("RGB", (256, 256), "red")
    ring.paste("blue", (16, 16, 240, 240))
    assert (decode(saved(ring, "PNG"), Framing(224, "crop", 256)) == (0, 0, 255)).all()


def test_pad_keeps_everything_in_black():
    pixels = decode(saved(Image.new("RGB", (100, 50), "white"), "PNG"), Framing(40, "pad", 40))
    assert (pixels[10:30] == 255).all()
    assert not pixels[:10].any()
    assert not pixels[30:].any()


def test_stretch_fills_the_square():
    assert (decode(saved(Image.new("RGB", (100, 50), "white"), "PNG"), Framing(40, "stretch", 40)) == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_smallest_and_the_thinnest_pictures_are_framed(size, resize, kind):
    pixels = decode(saved(Image.new("RGB", size, (200, 100, 50)), kind), Framing(28, resize, 28))
    assert difference(pixels[13, 13], np.array([200, 100, 50])) < 4


def test_transparency_is_laid_over_white():
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    assert (decode(saved(clear, "PNG"), Framing(32, "crop", 32)) == 255).all()
    half = Image.new("LA", (32, 32), (0, 128))
    assert difference(decode(saved(half, "PNG"), Framing(32, "crop", 32)), np.full((32, 32, 3), 127)) < 1
    palette = Image.new("P", (32, 32), 0)
    assert (decode(saved(palette, "PNG", transparency=0), Framing(32, "crop", 32)) == 255).all()


def test_sixteen_bits_keep_their_range():
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        pixels = decode(saved(Image.fromarray(ramp), kind), Framing(32, "crop", 32))
        assert np.array_equal(pixels[..., 0], ramp >> 8)


def test_floats_from_zero_to_one_keep_their_range():
    ramp = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    pixels = decode(saved(Image.fromarray(ramp), "TIFF"), Framing(32, "crop", 32))
    assert difference(pixels[..., 0], ramp * 255) < 1


def test_cmyk_becomes_rgb():
    pixels = decode(saved(photos()[0].convert("CMYK"), "JPEG", quality=95), Framing(SIDE, "crop", SIDE))
    assert difference(pixels, np.asarray(photos()[0].convert("CMYK").convert("RGB"))) < 4


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert difference(decode(data, Framing(32, "crop", 32)), np.asarray(frames[0])) < 2


@pytest.mark.parametrize("name", ["Landscape", "Portrait"])
def test_every_exif_orientation_comes_out_the_same(shared, name):
    files = [(shared / f"data/exif-orientation/{name}_{value}.jpg").read_bytes() for value in range(9)]
    for framing in (Framing(128, "crop", 146), Framing(128, "pad", 128), Framing(128, "stretch", 128)):
        upright = decode(files[0], framing)
        assert all(difference(decode(data, framing), upright) < 3 for data in files)
    assert all(difference(decode_grey(data, 32)[0], decode_grey(files[0], 32)[0]) < 3 for data in files)
    assert [jpeg_orientation(data) for data in files[1:]] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len({upright_size(data) for data in files}) == 1


def test_a_broken_exif_block_does_not_lose_the_picture():
    data = encoded(0)
    broken = data[:2] + b"\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff\xff\xff" + data[2:]
    assert np.array_equal(decode(broken, PHOTO), decode(data, PHOTO))


REASONS = [
    (b"", "empty file"),
    (bytes(5000), "only zero bytes"),
    (b"<html><body>404</body></html>", "an HTML or XML page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer; run `git lfs pull`"),
    (b"%PDF-1.7\n1 0 obj", "a PDF document"),
    (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "a video, MP4 or the like"),
    (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video, MP4 or the like"),
    (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a raw picture of a camera"),
    (bytes(128) + b"DICM\2\0\0\0UL\4\0", "a DICOM file"),
    (b'{ "error": "too many requests" }', "JSON data"),
    (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "an SVG drawing"),
    (b"\xff\x0a\xfa\x1f\1", "a JPEG XL picture"),
    (b"RIFF\0\0\0\0AVI LIST", "an AVI video"),
    (b"hello, I am a text", "not an image of a known format"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image of a known format"),
    (b"\xff\xd8", "not an image of a known format"),
    (encoded(20)[:1500], "truncated"),
    (encoded(0)[:-100], "truncated"),
    (encoded(0, "PNG")[:3000], "truncated"),
]


@pytest.mark.parametrize(("data", "reason"), REASONS)
def test_what_is_no_picture_has_a_short_reason(data, reason):
    with pytest.raises(BadImage, match=f"^{reason}"):
        decode(data, PHOTO)
    with pytest.raises(BadImage):
        decode_grey(data, 32)


def test_every_cut_of_a_jpeg_is_refused_or_whole():
    data, whole, reasons = encoded(3), decode(encoded(3), PHOTO), set()
    for end in range(100, len(data), 997):
        try:
            pixels = decode(data[:end], PHOTO)
        except BadImage as error:
            reasons.add(str(error))
        else:
            assert np.array_equal(pixels, whole)
    assert reasons <= {"truncated", "not an image of a known format"}


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded():
    data = bytearray(saved(Image.new("1", (8, 8)), "PNG"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = __import__("zlib").crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(BadImage, match="too large"):
        decode(bytes(data), PHOTO)


def test_odd_images_give_a_picture_or_a_reason_and_nothing_else(shared, capfd):
    manifest = (shared / "data/odd-images/MANIFEST.tsv").read_text().splitlines()
    columns = manifest[0].split("\t")
    rows = [dict(zip(columns, line.split("\t"), strict=False)) for line in manifest[1:]]
    readable = {f"{row['category']}/{row['file']}": row.get("convert_rgb") == "ok" for row in rows}
    assert len(readable) == 120
    outcomes, reasons = {}, []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in readable:
            data = (shared / "data/odd-images" / name).read_bytes()
            try:
                pixels = decode(data, PHOTO)
                outcomes[name] = pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8
            except BadImage as error:
                outcomes[name] = False
                reasons.append(str(error))
    odd = {
        "exif-orientation/apng__chunk_no_fctl.png",  # its frames are out of order: Pillow reads it at the second try
        *METADATA_ALONE,
    }
    assert {name for name in readable if readable[name] != outcomes[name]} == odd
    assert [reason for reason in reasons if len(reason) > 120 or "0x" in reason] == []
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_odd_and_large_images_take_less_than_a_gigabyte(shared, tmp_path):
    """In a process of its own, with the largest pictures that are allowed: RGBA, palette, progressive JPEG."""
    side = 8900
    for number, mode in enumerate(("RGBA", "P")):
        Image.new(mode, (side, side)).save(tmp_path / f"{number}.png", compress_level=1)
    Image.new("RGBA", (8000, 5000)).save(tmp_path / "4.webp", lossless=True, method=0)
    Image.new("RGB", (side, side), "teal").save(tmp_path / "2.jpg", progressive=True, subsampling=0)
    Image.new("RGB", (15_000, 15_000), "teal").save(tmp_path / "3.jpg")
    code = f"""
from pathlib import Path
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.core.errors import BadImage
for root in ({str(tmp_path)!r}, {str(shared / "data/odd-images")!r}):
    for path in sorted(Path(root).rglob("*.*")):
        try:
            decode(path.read_bytes(), Framing(224, "crop", 256))
        except BadImage as error:
            assert "odd-images" in str(path), (path, error)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert int(done.stdout) < 1_000_000


def test_threads_decode_side_by_side_and_leave_the_warning_filters_alone():
    before = list(warnings.filters)
    data, failures = encoded(0, "PNG"), []

    def work() -> None:
        for _ in range(20):
            if decode(data, PHOTO).shape != (64, 64, 3):
                failures.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(warnings.filters) == before


def test_sizes_are_read_from_headers():
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        assert upright_size(saved(photos()[0].resize((50, 30)), kind)) == (50, 30)
    turned = photos()[0].resize((50, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert upright_size(saved(turned, "JPEG", exif=exif)) == (30, 50)
    assert upright_size(b"") == upright_size(b"\xff\xd8\xff") == upright_size(b"text") == (0, 0)
