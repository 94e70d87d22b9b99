"""Label errors in all images, by out-of-fold answers on cached features: digits, whose pixels are the features."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from darkroom.core.errors import DarkroomError
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import SPLITS
from darkroom.metrics.label_errors import out_of_fold

WRONG = 40


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return features float32 (1797, 64) and labels int64 (1797,)."""
    images, labels = load_digits(return_X_y=True)
    return images.astype(np.float32), labels.astype(np.int64)


def write(root: Path, values: np.ndarray, labels: np.ndarray, classes: int) -> tuple[Path, Path]:
    """Write two thirds of the rows as train, the others as val and test; return the folders of shards and features."""
    bounds = [0, 2 * len(labels) // 3, 5 * len(labels) // 6, len(labels)]
    for number, split in enumerate(SPLITS):
        for tensor, folder in (("images", "shards"), ("features", "features")):
            with write_shards(root / folder / split, tensor, [str(name) for name in range(classes)]) as writer:
                for row in range(bounds[number], bounds[number + 1]):
                    kept = np.atleast_2d(values[row]) if tensor == "features" else np.zeros((2, 2, 3), np.uint8)
                    writer.add(kept, int(labels[row]), f"{row:064x}")
                writer.close()
    return root / "shards", root / "features"


def test_nine_of_ten_wrong_labels_are_found_in_every_split_with_the_right_class_proposed(tmp_path):
    values, truth = digits()
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(truth), WRONG, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + rng.integers(1, 10, WRONG)) % 10
    found = out_of_fold(*write(tmp_path, values, labels, 10))
    assert found.ids == [f"{row:064x}" for row in range(len(truth))]
    assert found.labels.tolist() == labels.tolist()
    assert np.isin(wrong, found.suspects).mean() >= 0.9
    assert np.isin(found.suspects, wrong).mean() >= 0.8
    hits = np.intersect1d(found.suspects, wrong)
    assert (found.proposed[hits] == truth[hits]).mean() >= 0.9
    assert {found.split[row] for row in hits} == set(SPLITS)


def test_augmented_views_of_an_image_are_not_learnt_from(tmp_path):
    values, labels = digits()
    values, labels = values[:300], labels[:300]
    plain = out_of_fold(*write(tmp_path / "one", values, labels, 10))
    views = np.stack([values, values[::-1], values * 0], axis=1)
    np.testing.assert_array_equal(out_of_fold(*write(tmp_path / "three", views, labels, 10)).probabilities,
                                  plain.probabilities)  # fmt: skip


def test_copies_under_the_same_wrong_label_are_found_where_they_are_known_to_be_one_group(tmp_path):
    values, truth = digits()
    values, truth = values[:600], truth[:600]
    copies = np.repeat(np.arange(20), 6)
    every = np.concatenate([values, values[copies]])
    labels = np.concatenate([truth, truth[copies]])
    wrong = np.isin(np.concatenate([np.arange(600), copies]), np.arange(20))
    labels = np.where(wrong, (labels + 1) % 10, labels)
    folders = write(tmp_path, every, labels, 10)
    groups = {f"{600 + row:064x}": f"{copy:064x}" for row, copy in enumerate(copies)}
    known, unknown = out_of_fold(*folders, groups), out_of_fold(*folders)
    assert wrong[known.suspects].sum() > 100 > wrong[unknown.suspects].sum()


def test_features_that_say_nothing_make_no_label_suspect(tmp_path):
    _, truth = digits()
    values = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    assert len(out_of_fold(*write(tmp_path, values, truth[:500], 10)).suspects) <= 3


def test_a_class_of_one_image_and_features_that_are_not_finite_get_no_answer(tmp_path):
    values, truth = digits()
    values, labels = values[:300].copy(), truth[:300].copy()
    labels[7], values[9, 0] = 10, np.nan
    found = out_of_fold(*write(tmp_path, values, labels, 11))
    assert np.flatnonzero(np.isnan(found.probabilities).any(axis=1)).tolist() == [7, 9]
    assert found.proposed[[7, 9]].tolist() == [10, labels[9]]
    assert not {7, 9} & set(found.suspects.tolist())


@pytest.mark.parametrize("count", [2, 5])
def test_a_handful_of_images_is_answered_or_not_without_an_error(tmp_path, count):
    values, _ = digits()
    found = out_of_fold(*write(tmp_path, values[:count], np.arange(count) % 2, 2))
    assert found.probabilities.shape == (count, 2)
    assert len(found.suspects) == 0


def test_without_cached_features_the_message_says_how_to_get_them(tmp_path):
    values, labels = digits()
    shards, features = write(tmp_path, values[:20], labels[:20], 10)
    for split in SPLITS:
        with write_shards(tmp_path / "none" / split, "features", [str(name) for name in range(10)]) as writer:
            writer.close()
    with pytest.raises(DarkroomError, match="frozen backbone"):
        out_of_fold(shards, tmp_path / "none")
    assert features.exists()
