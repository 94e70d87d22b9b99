import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from darkroom.images import augment
from darkroom.images.augment import STRENGTHS, Strength, apply, as_bytes, augmented, draw
from tests.core.processors import PROCESSORS, hash_on
from tests.model.samples import photo_images

STRONG = STRENGTHS["strong"]
assert STRONG is not None


@pytest.fixture(scope="module")
def photos():
    """(8, 64, 64, 3) uint8: parts of two real photographs."""
    pictures = load_sample_images().images
    return np.stack([picture[top : top + 256 : 4, 100:356:4] for picture in pictures for top in (0, 50, 100, 150)])


def pixels(photos):
    return torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255


def test_what_an_image_gets_does_not_depend_on_its_batch():
    together = draw(STRONG, True, np.arange(50), seed=1, epoch=4)
    alone = draw(STRONG, True, np.array([33]), seed=1, epoch=4)
    for whole, part in zip(
        (together.affine, together.colour, together.box), (alone.affine, alone.colour, alone.box), strict=True
    ):
        assert whole is not None
        assert part is not None
        assert np.array_equal(whole[33:34], part)


def test_images_of_a_batch_get_different_draws_and_epochs_too():
    draws = draw(STRONG, True, np.arange(50), seed=1, epoch=4)
    assert len(np.unique(draws.affine[:, 0, 0])) == 50
    assert not np.array_equal(draws.affine, draw(STRONG, True, np.arange(50), 1, 5).affine)
    assert not np.array_equal(draws.affine, draw(STRONG, True, np.arange(50), 2, 4).affine)


@pytest.mark.parametrize("name", [name for name, strength in STRENGTHS.items() if strength])
def test_nothing_is_mirrored_where_orientation_carries_meaning(name):
    strength = STRENGTHS[name]
    assert strength is not None
    mirrored = [
        np.linalg.det(draw(strength, flips, np.arange(200), 0, 0).affine[:, :, :2]) < 0 for flips in (True, False)
    ]
    assert 70 < mirrored[0].sum() < 130
    assert mirrored[1].sum() == 0


@pytest.mark.parametrize("name", [name for name, strength in STRENGTHS.items() if strength])
def test_pixels_stay_in_range_and_most_of_the_picture_stays(name, photos):
    strength = STRENGTHS[name]
    assert strength is not None
    images = pixels(photos)
    changed = apply(images, draw(strength, True, np.arange(8), 0, 0))
    assert changed.shape == images.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    assert float((changed - images).abs().mean()) > 0.01
    assert float((changed.mean((1, 2, 3)) - images.mean((1, 2, 3))).abs().max()) < 0.25


def test_no_change_at_all_gives_the_image_back(photos):
    still = Strength(zoom=(1.0, 1.0), flip=0.0)
    torch.testing.assert_close(
        apply(pixels(photos), draw(still, True, np.arange(8), 0, 0)), pixels(photos), atol=1e-5, rtol=0
    )


def test_a_mirror_image_is_the_exact_mirror(photos):
    mirror = Strength(zoom=(1.0, 1.0), flip=1.0)
    changed = apply(pixels(photos), draw(mirror, True, np.arange(8), 0, 0))
    torch.testing.assert_close(changed, pixels(photos).flip(3), atol=1e-5, rtol=0)


def test_a_crop_stays_inside_the_image():
    draws = draw(Strength(zoom=(0.5, 0.9), flip=0), False, np.arange(500), 0, 0)
    corners = np.array([[x, y, 1] for x in (-1, 1) for y in (-1, 1)]).T
    assert np.abs(draws.affine @ corners).max() <= 1 + 1e-6


def test_colours_are_changed_as_said():
    grey = torch.full((2, 3, 4, 4), 0.4)
    draws = augment.Draws(
        np.tile(np.eye(2, 3, dtype=np.float32), (2, 1, 1)), np.array([[1.5, 1, 1], [1, 3, 3]], np.float32), None
    )
    changed = apply(grey, draws)
    torch.testing.assert_close(changed, torch.stack([grey[0] * 1.5, grey[1]]))
    red = torch.tensor([0.9, 0.0, 0.0])[None, :, None, None].expand(1, 3, 4, 4)
    without = apply(red, augment.Draws(draws.affine[:1], np.array([[1, 1, 0]], np.float32), None))
    torch.testing.assert_close(without, torch.full((1, 3, 4, 4), 0.3))


def test_erased_is_a_rectangle_of_the_chosen_images_alone(photos):
    strength = Strength(zoom=(1.0, 1.0), flip=0, erase=0.5)
    draws = draw(strength, False, np.arange(8), 0, 0)
    assert draws.box is not None
    greyed = (apply(pixels(photos), draws) == 0.5).all(1).float().mean((1, 2))
    chosen = draws.box[:, 2] > draws.box[:, 0]
    assert 0 < chosen.sum() < 8
    assert float(greyed[torch.from_numpy(chosen)].min()) > 0.003
    assert float(greyed[torch.from_numpy(~chosen)].max()) < 0.003


def test_trivial_does_one_operation_to_each_image_and_all_of_them_to_some():
    alone = Strength(zoom=(1.0, 1.0), flip=0, trivial=True)
    draws = draw(alone, False, np.arange(2000), 0, 0)
    assert draws.colour is not None
    assert draws.tone is not None
    moved = (np.abs(draws.affine - np.eye(2, 3)) > 1e-6).any(axis=(1, 2))
    changed = np.column_stack([moved, draws.colour != 1, draws.tone != augment.NO_TONE])
    assert changed.sum(axis=1).max() == 1
    assert changed.any(axis=0).all()
    assert 100 < (changed.sum(axis=1) == 0).sum() < 300  # identity, and magnitudes that round to nothing
    assert np.abs(draws.affine[:, :, :2]).max() < 1.01
    assert 0.3 < np.abs(draws.affine[:, 0, 2]).max() * 224 / 64 <= 1  # of 32 pixels of 224
    assert 0 < draws.colour.min() < 0.1


def test_trivial_posterises_to_steps_and_inverts_the_bright(photos):
    same = np.tile(np.eye(2, 3, dtype=np.float32), (8, 1, 1))
    tone = np.tile(np.array([[64, 256]], np.float32), (8, 1))
    assert set(np.unique(augmented(photos, augment.Draws(same, None, None, tone)))) == {0, 64, 128, 192}
    tone[:] = 1, 100
    expected = np.where(photos >= 100, 255 - photos, photos)
    assert (augmented(photos, augment.Draws(same, None, None, tone)) == expected).all()
    assert (as_bytes(apply(pixels(photos), augment.Draws(same, None, None, tone))).permute(0, 2, 3, 1).numpy()
            == expected).mean() > 0.999  # fmt: skip


def test_augmented_bytes_are_the_rounded_tensor(photos):
    made = augmented(photos, draw(STRONG, True, np.arange(8), 0, 0))
    as_floats = apply(pixels(photos), draw(STRONG, True, np.arange(8), 0, 0))
    assert made.dtype == np.uint8
    assert made.shape == photos.shape
    expected = (as_floats * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.abs(made.astype(int) - expected).max() <= 3  # rounded before its colours change, too


@pytest.mark.parametrize("size", [28, 48, 96])
@pytest.mark.parametrize("strength", [name for name, strength in STRENGTHS.items() if strength])
def test_exact_copies_are_the_tensor_s_within_a_rounding(strength, size):
    photos, _ = photo_images(8, size)
    chosen = STRENGTHS[strength]
    assert chosen is not None
    draws = draw(chosen, True, np.arange(8), 0, 1)
    expected = (apply(pixels(photos), draws) * 255).permute(0, 2, 3, 1).numpy()
    off = np.abs(augmented(photos, draws) - expected)
    assert off.mean() < 0.5  # half a grey value is the rounding
    assert np.quantile(off, 0.999) < 2


HASHED = """
import hashlib, numpy as np
from darkroom.images.augment import STRENGTHS, augmented, draw
images = np.random.default_rng(0).integers(0, 256, (12, 37, 37, 3), np.uint8)
strengths = filter(None, STRENGTHS.values())
made = [augmented(images, draw(strength, True, np.arange(12), 0, 3)) for strength in strengths]
print(hashlib.sha256(np.stack(made)).hexdigest())
"""


def test_copies_have_the_same_bits_whatever_instructions_numpy_may_use():
    found = {hash_on(PROCESSORS[name], ["-W", "ignore", "-c", HASHED]) for name in ("as it is", "no SIMD in numpy")}
    assert len(found) == 1, found
