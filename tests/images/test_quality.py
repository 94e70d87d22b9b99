import numpy as np
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits, load_sample_images

from darkroom.images.quality import KINDS, doubtful, quality


def photos() -> np.ndarray:
    """Return 120 crops of two photos: (120, 64, 64, 3) uint8."""
    rng = np.random.default_rng(0)
    found = []
    for image in load_sample_images().images:
        for _ in range(60):
            top, left = rng.integers(0, 427 - 128), rng.integers(0, 640 - 128)
            crop = Image.fromarray(image[top : top + 128, left : left + 128])
            found.append(np.asarray(crop.resize((64, 64), Image.Resampling.BILINEAR)))
    return np.stack(found)


def test_spoiled_pictures_are_found_by_kind_and_few_others():
    images = photos()
    images[0] = 128
    images[1] = (images[1] * 0.06).astype(np.uint8)
    images[2] = 255 - (images[2] * 0.06).astype(np.uint8)
    images[3] = np.asarray(Image.fromarray(images[3]).filter(ImageFilter.GaussianBlur(8)))
    sides = np.full((120, 2), 500)
    sides[4], sides[5], sides[6] = (20, 25), (2000, 300), (0, 0)
    found = doubtful(quality(images), sides, 64)
    assert tuple(found) == KINDS
    assert 0 in found["near-blank"]
    assert 3 in found["blurred"]
    assert found["enlarged"].tolist() == [4]
    assert found["odd-shaped"].tolist() == [5]
    assert 1 in np.concatenate([found["dark"], found["near-blank"]])
    assert 2 in np.concatenate([found["bright"], found["near-blank"]])
    others = set(np.concatenate([found[kind] for kind in KINDS[:4]]).tolist()) - {0, 1, 2, 3}
    assert len(others) <= 12  # pieces of a clear sky


def test_scans_that_are_all_dark_are_not_called_dark():
    images = (load_digits().images[:300] * 15).astype(np.uint8)[..., None].repeat(3, axis=3)
    found = doubtful(quality(images), np.full((300, 2), 8), 8)
    assert sum(map(len, found.values())) <= 3


def test_no_picture_and_pictures_of_a_single_pixel_are_no_trouble():
    for count, side in ((0, 8), (3, 1)):
        found = doubtful(quality(np.zeros((count, side, side, 3), np.uint8)), np.zeros((count, 2), int), 8)
        assert [len(rows) for rows in found.values()] == [count, 0, 0, 0, 0, 0]
