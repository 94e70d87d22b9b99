import numpy as np
import pytest

from darkroom.core.errors import ParamsError
from darkroom.images.batches import balanced_rows
from darkroom.metrics.answers import majority, nearest_mean, views


@pytest.mark.parametrize(("kind", "count"), [("none", 1), ("flip", 2), ("crops", 6), ("flip_crops", 12)])
def test_every_view_has_the_shape_of_the_image_and_the_first_is_the_image(kind, count):
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), np.uint8)
    seen = list(views(images, kind, flips=True))
    assert len(seen) == count
    assert (seen[0] == images).all()
    assert all(view.shape == images.shape and view.dtype == np.uint8 for view in seen)
    if "flip" in kind:
        assert (seen[1] == images[:, :, ::-1]).all()


def test_images_that_must_not_be_mirrored_are_not():
    with pytest.raises(ParamsError, match="must not be mirrored; use crops"):
        next(views(np.zeros((1, 8, 8, 3), np.uint8), "flip_crops", flips=False))


def test_baselines_are_the_commonest_class_of_training_and_the_nearest_mean():
    labels = np.array([0, 0, 0, 1])
    assert majority({"cat": 2, "dog": 9}, ["cat", "dog"], labels)["accuracy"] == 0.25
    train = np.array([[0.0, 0], [0, 2], [9, 9]])
    found = nearest_mean(train, np.array([0, 0, 2]), np.array([[0.0, 1], [8, 8]]), np.array([0, 2]))
    assert (found["accuracy"], found["images"], found["n"]) == (1.0, 3, 2)
    assert balanced_rows(np.array([0, 0, 0, 1, 0, 1, 1]), 2, most=4).tolist() == [0, 1, 3, 5]


def test_more_classes_than_rows_get_at_most_so_many_rows_all_over():
    places = balanced_rows(np.repeat(np.arange(2_000), 3), 2_000, most=500)
    assert len(places) == 500
    assert np.diff(places // 3).max() <= 5
    assert places[-1] // 3 > 1_990
