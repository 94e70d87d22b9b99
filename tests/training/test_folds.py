"""Folds: who learns, who chooses, who is held out; and what the folds say together, against a hand calculation."""

import numpy as np
import pytest

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.images.shards import Shards
from darkroom.training.folds import figure, open_fold, summary
from tests.training.small import write_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, train=120, val=30, test=10)
    rows = []
    for split in ("train", "val", "test"):
        for place, name in enumerate(Shards(folder / "data/shards" / split).ids()):
            rows.append([name, split, "" if split == "test" else place % 5])
    files.write_csv(folder / "data/split.csv", ("id", "split", "fold"), rows)
    return folder / "data"


def test_the_held_out_fold_is_neither_learnt_from_nor_chosen_by(data):
    for fold in range(5):
        learn, held = open_fold(data / "split.csv", data / "shards", data / "features", fold)
        assert (len(learn.train_images), len(learn.val_images), len(held.ids)) == (96, 24, 30)
        assert len(learn.train_features) == 96
        seen = np.concatenate([table.rows(np.arange(len(table))) for table in (learn.train_images, learn.val_images)])
        answered = held.images.rows(np.arange(30))
        assert not {row.tobytes() for row in seen} & {row.tobytes() for row in answered}


def test_every_sample_of_train_and_val_is_held_out_once(data):
    held = [
        name
        for fold in range(5)
        for name in open_fold(data / "split.csv", data / "shards", data / "features", fold)[1].ids
    ]
    expected = [name for split in ("train", "val") for name in Shards(data / "shards" / split).ids()]
    assert sorted(held) == sorted(expected)


def test_images_features_and_ids_are_of_the_same_samples(data):
    learn, held = open_fold(data / "split.csv", data / "shards", data / "features", 2)
    assert learn.train_images.labels.tolist() == learn.train_features.labels.tolist()
    assert held.features is not None
    assert held.images.labels.tolist() == held.features.labels.tolist() == held.labels.tolist()


def test_another_division_is_another_training(data, tmp_path):
    """Otherwise a fold would go on from the checkpoint of one that has learnt from what is held out now."""
    rows = [list(row.values()) for row in files.read_csv(data / "split.csv")]
    other = [
        [name, split, fold and str((int(fold) + place // 5) % 5)] for place, (name, split, fold) in enumerate(rows)
    ]
    files.write_csv(tmp_path / "split.csv", ("id", "split", "fold"), other)
    folders = (data / "shards", data / "features")
    chosen = [open_fold(path, *folders, fold)[0].chosen for path in (data / "split.csv", tmp_path / "split.csv")
              for fold in (0, 1)]  # fmt: skip
    assert len(set(chosen)) == 4
    assert open_fold(data / "split.csv", *folders, 0)[0].chosen == chosen[0]


def test_a_fold_that_is_not_there_says_what_to_do(data):
    with pytest.raises(DarkroomError, match=r"no sample of fold 5; set `folds` in params\.yaml to more than 5"):
        open_fold(data / "split.csv", data / "shards", data / "features", 5)


def test_the_interval_is_that_of_nadeau_and_bengio():
    values = [0.9, 0.92, 0.94, 0.96, 0.98]
    found = summary(
        [{"fold": i, "n": 20, "accuracy": v, "macro_f1": v, "log_loss": 1 - v} for i, v in enumerate(values)]
    )
    assert found["accuracy"] == pytest.approx(0.94)
    assert found["accuracy_std"] == pytest.approx(0.031623, abs=1e-6)
    half = 2.776445 * 0.0316228 * (1 / 5 + 1 / 4) ** 0.5  # t with 4 degrees of freedom, from a table
    assert found["accuracy_low"] == pytest.approx(0.94 - half, abs=1e-5)
    assert found["accuracy_high"] == pytest.approx(min(1, 0.94 + half), abs=1e-5)
    assert found["n"] == 100


def test_every_fold_is_within_the_figure():
    found = summary(
        [{"fold": i, "n": 20, "accuracy": 0.99 if i == 3 else 0.9, "macro_f1": 0.9, "log_loss": 0.1} for i in range(10)]
    )
    low, high = figure(found).axes[0].get_ylim()
    assert found["accuracy_high"] < 0.99
    assert low < 0.9 < 0.99 < high


def test_the_figure_is_drawn_when_all_folds_agree():
    found = summary([{"fold": i, "n": 20, "accuracy": 1.0, "macro_f1": 1.0, "log_loss": 0.0} for i in range(3)])
    assert figure(found).axes[0].get_title() == "3-fold cross-validation, 60 images"
    assert (found["accuracy"], found["accuracy_low"], found["accuracy_high"]) == (1, None, None)  # not 100 to 100 %
