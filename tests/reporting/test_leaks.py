from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.reporting.leaks import Part, fits, leaks
from tests.images.pictures import SIDE, photos


def part_of(image: Image.Image) -> Image.Image:
    """Return a crop of half of the picture's area."""
    return image.crop((12, 20, 12 + 68, 20 + 68)).resize((SIDE, SIDE))


def with_bars(image: Image.Image) -> Image.Image:
    """Return the picture between the bars of a screenshot."""
    screen = Image.new("RGB", (SIDE, SIDE), (20, 20, 20))
    screen.paste(image.resize((64, 64)), (16, 16))
    return screen


def part(folder: Path, images: list[Image.Image], features: np.ndarray, side: int = SIDE) -> Part:
    with write_shards(folder, "images", ["a", "b"]) as writer:
        for number, image in enumerate(images):
            writer.add(np.asarray(image.resize((side, side))), number % 2, f"{number:064x}")
        writer.close(flips=False)
    return Part(Shards(folder), features)


@pytest.fixture
def train(tmp_path):
    return part(tmp_path / "train", list(photos()[:18]), np.eye(18, 24, dtype=np.float32))


def test_parts_of_training_pictures_are_leaks_and_near_strangers_are_not(train, tmp_path):
    """Each is as near to one training image as can be, by its features: only some fit into it."""
    shown = [part_of(photos()[0]), with_bars(photos()[9]), photos()[19], photos()[33], part_of(photos()[25])]
    test = part(tmp_path / "test", shown, np.eye(18, 24, dtype=np.float32)[[0, 9, 4, 5, 6]])
    found = leaks(train, {"test": test, "val": part(tmp_path / "val", [], np.empty((0, 24), np.float32))})
    assert {(leak.train, leak.split, leak.row) for leak in found} == {(0, "test", 0), (9, "test", 1)}
    assert found == sorted(found, key=lambda leak: -leak.fit)


def test_pictures_that_nobody_cuts_and_missing_features_have_no_leaks(train, tmp_path):
    copies = part(tmp_path / "test", list(photos()[:18]), train.features)
    assert len(leaks(train, {"test": copies})) == 16  # two hardly show anything
    assert leaks(Part(train.images, train.features[:3]), {"test": copies}) == []
    small = [part(tmp_path / name, list(photos()[:18]), train.features, side=32) for name in ("small", "other")]
    assert leaks(small[0], {"test": small[1]}) == []
    nothing = part(tmp_path / "nothing", [], np.empty((0, 24), np.float32))
    assert leaks(nothing, {"test": copies}) == leaks(train, {"test": nothing}) == []


def test_a_plain_picture_fits_nowhere_and_a_part_fits_either_way_round():
    one, other = (np.asarray(image.convert("L"), np.float64) for image in (photos()[6], part_of(photos()[6])))
    assert fits(one, other) == fits(other, one) > 0.8
    assert fits(np.full((SIDE, SIDE), 90.0), one) == 0
