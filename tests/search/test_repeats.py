"""`darkroom repeats` on digits, whose pixels are the features: in memory, the test set answered once a seed."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from darkroom.core import files
from darkroom.core.params import load
from darkroom.images.shard_writer import write_shards
from darkroom.metrics.significance import over_seeds
from darkroom.search import repeats
from tests.training.recipes import RECIPE

CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.float32) / 4
    bounds = [0, 300, 450, 750]
    for number, split in enumerate(("train", "val", "test")):
        for tensor, folder in (("images", "shards"), ("features", "features")):
            with write_shards(tmp_path / "data" / folder / split, tensor, CLASSES) as writer:
                for row in range(bounds[number], bounds[number + 1]):
                    kept = images[row : row + 1] if tensor == "features" else np.zeros((2, 2, 3), np.uint8)
                    writer.add(kept, int(labels[row]), f"{row:064x}")
                writer.close(framing={"size": 2}, flips=False)
    rows = [(f"{row:064x}", "train", row % 3, "") for row in range(450)]
    files.write_csv(tmp_path / "data/split.csv", ("id", "split", "fold", "duplicate_of"), rows)
    facts = {"features": 64, "parameters": 1, "backbone": "pixels", "mean": [0], "std": [1], "image_size": 2,
             "weights": "none"}  # fmt: skip
    files.write_json(tmp_path / "models/body/body.json", facts)
    files.write_bytes(tmp_path / "models/body/body.safetensors", b"\x02\0\0\0\0\0\0\0{}")
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_params(root: Path, **changed: object) -> None:
    files.write_text(root / "params.yaml", json.dumps(RECIPE | changed))


def test_seeds_that_differ_widen_the_interval_and_each_is_kept(project, capsys):
    write_params(project, mixup=0.8, epochs=2, batch_size=8)
    assert repeats.main(["--seeds", "4"]) == 0
    said = capsys.readouterr().out
    found = files.read_json(project / ".darkroom/repeats.json")
    assert found["seeds"] == [0, 1, 2, 3]
    assert found["n"] == 300
    own = found["workspace"]
    assert len(own["by_seed"]) == 4
    assert len(set(own["by_seed"])) > 1
    assert own["low"] < min(own["by_seed"]) <= own["mean"] <= max(own["by_seed"]) < own["high"]
    assert "95 % interval over images and 4 seeds" in said


def test_one_seed_says_that_its_luck_is_unknown(project, capsys):
    assert repeats.main(["--seeds", "1"]) == 0
    assert "of one seed: how much of it is luck is unknown" in capsys.readouterr().out


def test_a_revision_that_is_not_there_is_said_before_anything_is_trained(project, capsys):
    with pytest.raises(repeats.DarkroomError, match="not a DVC project"):
        repeats.main(["nowhere"])
    assert capsys.readouterr().out == ""


def test_a_recipe_is_not_compared_with_itself(project):
    write_params(project, train_seed=7)
    recipe = load(repeats.Recipe)
    repeats.require_another(dataclasses.replace(recipe, lr=recipe.lr / 2), "main", recipe)
    with pytest.raises(repeats.DarkroomError, match=r"main has the recipe of params\.yaml"):
        repeats.require_another(dataclasses.replace(recipe, train_seed=None), "main", recipe)


def test_few_groups_are_not_called_one_seed():
    few = over_seeds(np.ones((5, 40)), np.arange(40) // 20, difference=True)
    assert "of 5 seeds; too few images, or groups of them, for an interval" in repeats.in_words("a", few, "difference")
    assert repeats.verdict(few) == "no verdict on the recipes: too few images, or groups of them"


def test_a_network_that_learns_is_left_to_the_queue(project):
    write_params(project, freeze="none")
    with pytest.raises(repeats.DarkroomError, match=r"dvc exp run --queue -S 'train_seed=range\(0,5\)'"):
        repeats.main([])


def test_by_folds_every_image_of_train_and_val_is_answered_and_the_test_set_is_not(project, capsys):
    (project / "data/features/test/index.json").unlink()
    assert repeats.main(["--folds", "--seeds", "2"]) == 0
    found = files.read_json(project / ".darkroom/repeats.json")
    assert found["n"] == 450
    assert found["workspace"]["mean"] > 0.85
    assert "the test set stayed unseen" in capsys.readouterr().err
