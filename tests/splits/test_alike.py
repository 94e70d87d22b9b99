"""Pictures whose hashes are near are laid over each other: copies agree in their details everywhere, others do not."""

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from darkroom.core.errors import SourceError
from darkroom.core.runtime import from_environment
from darkroom.images.hashes import COUNT, between_bars, from_text
from darkroom.sources.index import fingerprints, small_picture, write_index
from darkroom.sources.labels import Sample
from darkroom.sources.trees import open_tree
from darkroom.splits import duplicates
from darkroom.splits.alike import STORED, alike, fit
from darkroom.splits.columns import read_columns
from tests.images import crashers
from tests.images.pictures import photos


def saved(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def small(data: bytes) -> np.ndarray:
    return np.frombuffer(small_picture(data, STORED), np.uint8).reshape(STORED, STORED)


def product(number: int) -> Image.Image:
    """Return a bottle on a white ground, with a label of its own: 240 x 240."""
    image = Image.new("RGB", (240, 240), "white")
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((80, 60, 160, 225), 20, fill=(60, 90, 60))
    draw.rectangle((105, 15, 135, 70), fill=(60, 90, 60))
    cells = np.random.default_rng(number).integers(0, 2, (8, 6))
    for row, column in np.argwhere(cells):
        draw.rectangle((86 + 12 * column, 105 + 12 * row, 97 + 12 * column, 116 + 12 * row), fill=(230, 220, 160))
    return image


COPIES = {
    "quality 20": lambda image: saved(image, 20),
    "half the size": lambda image: saved(image.resize((image.width // 2, image.height // 2))),
    "brighter, whites lost": lambda image: saved(ImageEnhance.Brightness(image).enhance(1.4)),
    "darker": lambda image: saved(ImageEnhance.Brightness(image).enhance(0.6)),
    "a part": lambda image: saved(
        image.crop((image.width // 12, 0, image.width - image.width // 20, round(image.height * 0.88)))
    ),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES.keys())
def test_an_altered_copy_agrees_and_another_picture_with_the_same_outline_does_not(change):
    for number in range(6):
        one, copy = small(saved(product(number))), small(change(product(number)))
        assert alike(one, copy, turned=False, many=True), fit(one, copy)
        assert not alike(copy, small(saved(product(number + 10))), turned=False, many=False)


def test_a_turned_copy_agrees_once_it_is_turned_back():
    turns = [ImageOps.mirror, ImageOps.flip, ImageOps.invert, lambda image: image.rotate(90, expand=True)]
    for number, turn in enumerate(turns):
        one, copy = small(saved(photos()[number * 5])), small(saved(turn(photos()[number * 5])))
        assert alike(one, copy, turned=True, many=True)
        assert not alike(one, copy, turned=False, many=False)


def test_flat_pictures_and_strange_photos_do_not_agree():
    flat = np.full((STORED, STORED), 90, np.uint8)
    assert fit(flat, flat) == (0.0, 0.0)
    pictures = [small(saved(photo)) for photo in photos()[:12]]
    assert not any(alike(one, other, True, False) for one in pictures[:6] for other in pictures[6:])


@pytest.fixture
def near():
    """Digests, hashes, which are hashed and no windows of 100 pictures, of which the last two are 40 bits apart."""
    bits = np.random.default_rng(0).random((100, 256)) < 0.5
    bits[-1] = bits[-2]
    bits[-1, :40] ^= True
    hashes = np.packbits(bits, axis=1)
    return np.array(range(100), "S"), hashes, np.ones(100, bool), np.empty((0, COUNT, 16), np.uint8)


@pytest.mark.parametrize(("other", "same"), [(saved(product(0), 20), True), (saved(product(1)), False)])
def test_pictures_with_near_hashes_are_joined_when_they_show_the_same(near, other, same):
    hashes = near[1]
    known = {hashes[-2].tobytes(): small_picture(saved(product(0)), STORED),
             hashes[-1].tobytes(): small_picture(other, STORED)}  # fmt: skip
    assert duplicates.doubtful(hashes, near[3]).tolist() == [98, 99]
    assert duplicates.clusters(*near, known)[-1] == (98 if same else 99)
    assert duplicates.clusters(*near)[-1] == 98  # an index without small pictures


def test_no_more_pairs_are_laid_over_each_other_than_there_is_time_for_and_that_is_said(near, monkeypatch, capsys):
    known = {row.tobytes(): small_picture(saved(product(n)), STORED) for n, row in enumerate(near[1][-2:])}
    assert duplicates.clusters(*near, known)[-1] == 99
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(duplicates, "MOST_CHECKED", 0)
    assert duplicates.clusters(*near, known)[-1] == 98
    assert (
        "note: of 1 pairs that may be copies 0 are laid over each other to see; the others" in capsys.readouterr().err
    )


@pytest.fixture
def copied(tmp_path):
    """Return the bytes of 20 photos and of the seventh once more, mirrored, and what writes their index and returns
    notes."""
    datas = [saved(photo) for photo in photos()[:20]] + [saved(ImageOps.mirror(photos()[6]))]
    names = [f"{'ab'[number % 2]}/{number:02}.jpg" for number in range(len(datas))]
    for name, data in zip(names, datas, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    samples = [Sample(name, name[0]) for name in names]
    return datas, lambda: write_index(samples, open_tree(tmp_path), tmp_path / "index.csv", from_environment())[2]


def test_fetch_keeps_the_small_pictures_of_doubtful_copies_in_the_index(tmp_path, copied):
    datas, write = copied
    assert write() == []
    index = read_columns(tmp_path / "index.csv", locations=True)
    both = [index.hashes[index.locations.index(name)].tobytes() for name in ("a/06.jpg", "a/20.jpg")]
    assert index.pictures == {key: small_picture(datas[n], STORED) for key, n in zip(both, (6, 20), strict=True)}
    assert len(index.windows) == 21


def test_more_pictures_than_are_kept_small_are_noted(tmp_path, copied, monkeypatch):
    monkeypatch.setattr("darkroom.sources.index.MOST_CHECKED", 1)
    assert [note.split(":")[0] for note in copied[1]()] == [
        "2 pictures may be copies, and at most 1 are laid over each other to see"
    ]
    assert read_columns(tmp_path / "index.csv").pictures == {}


def test_the_index_does_not_depend_on_free_memory(tmp_path, copied, monkeypatch):
    """A small picture that memory is refused to is made again, alone; where that fails, too, no index is written."""
    copied[1]()
    before = (tmp_path / "index.csv").read_bytes()
    (tmp_path / "index.csv").unlink()
    for always in (True, False):
        task = partial(crashers.short_of_memory, tmp_path / f"mark-{always}", always)
        monkeypatch.setattr("darkroom.sources.index._small_picture", task)
        if always:
            with pytest.raises(SourceError, match=r"a/(06|20)\.jpg: not enough memory, though nothing else was read"):
                copied[1]()
            assert not (tmp_path / "index.csv").exists()
    copied[1]()
    assert (tmp_path / "index.csv").read_bytes() == before


def barred(image: Image.Image, bars: tuple[int, int, int], colour: str, sign: bool) -> bytes:
    """Return a picture between bars above, below and on both sides, in pixels, with a clock and buttons."""
    above, below, beside = bars
    out = Image.new("RGB", (image.width + 2 * beside, image.height + above + below), colour)
    out.paste(image, (beside, above))
    if sign:
        draw = ImageDraw.Draw(out)
        draw.rectangle((4, 3, 16, 6), fill="grey")
        draw.ellipse((out.width // 2 - 3, out.height - 8, out.width // 2 + 3, out.height - 2), outline="grey")
    return saved(out)


BETWEEN = [((14, 12, 0), "black", False), ((24, 20, 0), "white", True), ((16, 16, 16), "grey", False)]


@pytest.mark.parametrize(("bars", "colour", "sign"), BETWEEN)
def test_a_picture_between_the_bars_of_a_screenshot_is_joined_to_itself_and_to_no_other(bars, colour, sign):
    datas, joined = [saved(photo) for photo in photos()], 0
    rows = [fingerprints(data, 96) for data in datas]
    for number in range(6, 36, 3):
        copy = barred(photos()[number], bars, colour, sign)
        whole, parts = zip(*rows, fingerprints(copy, 96), strict=True)
        hashes = duplicates.as_bits(whole)
        known = {row.tobytes(): small_picture(data, STORED) for row, data in zip(hashes, [*datas, copy], strict=True)}
        digests, hashed = np.array(range(37), "S"), np.ones(37, bool)
        found = duplicates.clusters(digests, hashes, hashed, from_text(parts), known).tolist()
        assert found[:36] == list(range(36))
        assert found[36] in (number, 36)
        joined += found[36] == number
    assert joined >= 5  # signs take a sixth of the bar of so small a picture


def test_a_white_ground_between_black_bars_stays_and_pictures_without_bars_have_none():
    data = barred(product(0), (40, 40, 0), "black", False)
    top, bottom, left, right = between_bars(small(data))
    assert abs(top - 8) < 1
    assert abs(bottom - 56) < 1
    assert (left, right) == (0, 64)
    assert between_bars(small(saved(photos()[6]))) == (0, 64, 0, 64)
    assert between_bars(np.full((40, 40), 7, np.uint8)) == (0, 40, 0, 40)
