"""Pictures of more than 8 bits: one scale for a collection, found by fetch, kept to the prediction; no cliffs."""

import io

import numpy as np
import pytest
from PIL import Image

from darkroom.core import files
from darkroom.images.decode import decode
from darkroom.images.framing import Framing
from darkroom.images.levels import FLOATS, INTEGERS, Range, common_levels, file_range
from darkroom.images.shards import Shards
from tests.images.pictures import class_folders, photos
from tests.stages import pipeline

PLAIN = Framing(64, "crop", 64)


def grey(number: int = 0) -> np.ndarray:
    """Return a real photo's luminance, (96, 96) in 0..1."""
    return np.asarray(photos()[number].convert("L"), np.float64) / 255


def saved(values: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, kind)
    return out.getvalue()


def of_bits(bits: int, number: int = 0, kind: str = "PNG") -> bytes:
    """Return a photo of so many bits in a file of 16."""
    return saved(np.rint(grey(number) * (2**bits - 1)).astype(np.uint16), kind)


@pytest.mark.parametrize("bits", [8, 9, 10, 11, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_picture_of_fewer_bits_than_its_file_keeps_its_levels(bits, kind):
    levels, notes = common_levels([file_range(of_bits(bits, number, kind)) for number in range(4)])
    assert levels == {INTEGERS: (0.0, 2.0**bits - 1)}
    assert notes == [f"4 pictures of more than 8 bits: values from 0 to {2**bits - 1} become 0 to 255"]
    pixels = decode(of_bits(bits, 0, kind), Framing(96, "crop", 96, **levels))[..., 0]
    assert np.abs(pixels - grey() * 255).mean() < 1


@pytest.mark.parametrize("top", [0.95, 1.01, 100.0, 254.0, 256.0, 4095.0, 65536.0, 1e-3])
def test_floating_point_pictures_end_where_the_collection_ends(top):
    data = [saved((grey(number) * top).astype(np.float32), "TIFF") for number in range(4)]
    levels, _ = common_levels([file_range(one) for one in data])
    pixels = [decode(one, Framing(96, "crop", 96, **levels))[..., 0].astype(float) for one in data]
    expected = [grey(number) * 255 for number in range(4)]
    scale = [one.mean() / other.mean() for one, other in zip(pixels, expected, strict=True)]
    assert np.ptp(scale) < 0.02  # one scale: what is twice as bright stays twice as bright
    assert 0.9 < np.mean(scale) < 1.3


def test_one_pixel_beyond_one_changes_nothing():
    values = (grey() * 0.95).astype(np.float32)
    stray = values.copy()
    stray[40, 40] = 1.2
    one, other = (decode(saved(each, "TIFF"), PLAIN).astype(int) for each in (values, stray))
    assert np.abs(one - other).mean() < 0.1


@pytest.mark.parametrize("absent", [-9999, -32768, np.finfo(np.float32).min])
def test_what_stands_for_no_data_is_black_and_sets_no_level(absent):
    values = np.linspace(0, 1, 4096, dtype=np.float32).reshape(64, 64)
    values[:16] = absent
    data = io.BytesIO()
    Image.fromarray(values).save(data, "TIFF")
    found = file_range(data.getvalue())
    assert found is not None
    levels, _ = common_levels([found])
    assert levels == {"floats": (0.0, 1.0)}
    pixels = decode(data.getvalue(), Framing(64, "crop", 64, floats=levels["floats"]))
    assert (pixels[:14] == 0).all()
    assert len(np.unique(pixels)) > 150


def test_a_broken_picture_does_not_turn_the_others_black():
    ranges = [Range(FLOATS, 0.0, 1.0 + number / 100) for number in range(20)]
    levels, notes = common_levels([*ranges, Range(FLOATS, 0.0, 1e30)])
    assert levels == {FLOATS: (0.0, 1.19)}
    assert "1 of them hold values of over 16 times the usual: clipped" in notes
    assert common_levels([*ranges, Range(FLOATS, -1.0, 0.5)])[0] == {FLOATS: (-1.0, 1.19)}
    assert common_levels([Range(FLOATS, -0.95, 0.9)])[0] == {FLOATS: (-1.0, 1.0)}


def pnm(values: np.ndarray, white: int) -> bytes:
    """Return a PGM (h, w) or PPM (h, w, 3) of 16 bits whose header says that `white` is white."""
    kind = b"P5" if values.ndim == 2 else b"P6"
    return b"%s %d %d %d\n" % (kind, values.shape[1], values.shape[0], white) + values.astype(">u2").tobytes()


def test_a_pgm_that_says_which_value_is_white_does_not_darken_the_others():
    ten, twelve = (np.rint(grey() * (2**bits - 1)) for bits in (10, 12))
    data = [pnm(ten, 1023), pnm(twelve, 4095), pnm(twelve, 65535), of_bits(12)]
    levels, _ = common_levels(filter(None, map(file_range, data)))
    assert levels == {INTEGERS: (0.0, 4095.0)}
    for one in data:
        pixels = decode(one, Framing(96, "crop", 96, **levels))[..., 0]
        assert np.abs(pixels - grey() * 255).mean() < 1


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_ppm_of_16_bits_keeps_its_levels(bits):
    photo = np.asarray(photos()[0], np.float64)
    data = pnm(np.rint(photo / 255 * (2**bits - 1)), 65535)
    levels, _ = common_levels([file_range(data)])
    assert levels == {INTEGERS: (0.0, 2.0**bits - 1)}
    assert np.abs(decode(data, Framing(96, "crop", 96, **levels)) - photo).mean() < 1


@pytest.mark.parametrize("whites", [(1023, 4095, 65535), (1.0, 255.0, 65535.0)])
def test_pictures_that_become_nearly_black_beside_the_others_are_said(whites):
    kind = INTEGERS if isinstance(whites[0], int) else FLOATS
    _, notes = common_levels([Range(kind, 0.0, float(white)) for white in whites])
    assert notes[1].startswith(f"2 of them have no value above {whites[1]:g} and become nearly black")
    assert len(common_levels([Range(kind, 0.0, white) for white in (whites[2] / 4, whites[2])])[1]) == 1


def test_plain_pictures_are_not_opened_a_second_time():
    assert file_range(saved(np.zeros((4, 4), np.uint8), "PNG")) is None
    assert file_range(b"II*\0 not a TIFF") is None
    assert common_levels([]) == ({}, [])


def test_values_that_are_not_numbers_are_a_reason_and_no_range():
    assert file_range(saved(np.full((4, 4), np.nan, np.float32), "TIFF")) is None


def test_the_scale_goes_from_fetch_to_the_shards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, first, factor in (("dark", 0, 0.25), ("light", 18, 1.0)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(10):
            values = np.rint(grey(first + number) * factor * 1023).astype(np.uint16)
            (tmp_path / "pictures" / name / f"{number}.tif").write_bytes(saved(values, "TIFF"))
    pipeline.run_all(image_size=96)
    described = files.read_json(tmp_path / "data/shards/data.json")
    assert described["levels"] == {"integers": [0.0, 1023.0]}
    assert described["notes"] == ["20 pictures of more than 8 bits: values from 0 to 1023 become 0 to 255"]
    shards = Shards(tmp_path / "data/shards/train")
    assert shards.index["framing"]["integers"] == [0.0, 1023.0]
    assert Framing(**shards.index["framing"]).levels == {INTEGERS: (0.0, 1023.0)}
    dark, light = (shards.rows(np.flatnonzero(shards.labels == label)).mean() for label in (0, 1))
    assert dark < 0.5 * light  # the brightness of a picture is kept


def test_a_collection_of_8_bits_has_no_levels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "pictures")
    pipeline.run_all()
    assert "levels" not in files.read_json(tmp_path / "data/shards/data.json")
    assert "integers" not in Shards(tmp_path / "data/shards/train").index["framing"]


@pytest.mark.parametrize(
    ("name", "least"), [("10bit_in_16bit.tif", 60), ("12bit_in_16bit.png", 90), ("16bit_full.png", 90)]
)
def test_the_shared_cases_keep_their_levels(shared, name, least):
    pixels = decode((shared / "cases/bit-depth" / name).read_bytes(), PLAIN)
    assert len(np.unique(pixels)) > least


def test_the_shared_floats_are_as_bright_as_their_kin(shared):
    folder = shared / "cases/bit-depth"
    one, other, *wide = (
        decode((folder / f"float_{name}.tif").read_bytes(), PLAIN)
        for name in ("max_0.95", "max_1.01", "0_100", "0_4095")
    )
    assert abs(one.mean() - other.mean()) < 0.1
    assert all(len(np.unique(pixels)) > 90 for pixels in wide)
