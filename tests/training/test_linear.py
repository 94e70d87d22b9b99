"""A linear head learnt in numpy is the head that torch learns, without torch."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darkroom.core.errors import TrainingError
from darkroom.images.batches import Table
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.model import classifier
from darkroom.training import linear
from darkroom.training.calibrate import fit_temperature
from darkroom.training.data import FeatureInputs
from darkroom.training.fit import Fit
from darkroom.training.history import Reporter
from darkroom.training.recipe import Recipe
from darkroom.training.step import Phase
from tests.core.processors import PROCESSORS, hash_on
from tests.training.recipes import RECIPE, SETTINGS

ROOT = Path(__file__).parents[2]
CLASSES = ["ant", "bee", "cat"]
FEATURES, VIEWS = 12, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Features of three classes that overlap, of different sizes, in several shards."""
    folder = tmp_path_factory.mktemp("features")
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, FEATURES))
    for split, count in (("train", 150), ("val", 60), ("none", 0)):
        with write_shards(folder / split, "features", CLASSES, shard_bytes=10_000) as writer:
            for number in range(count):
                label = min(2, number % 7 // 2)
                rows = centres[label] + 1.5 * random.normal(size=(VIEWS, FEATURES))
                writer.add(rows.astype(np.float32), label, f"{number:064x}")
            writer.close()
    return folder


def table(folder: Path, split: str) -> Table:
    return Table([Shards(folder / split)])


def recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = RECIPE | {"epochs": 6, "batch_size": 16} | changes
    return Recipe(**values)


def first(chosen: Recipe) -> dict[str, np.ndarray]:
    return classifier.initial(chosen.head_facts, FEATURES, len(CLASSES), chosen.seed)


def in_numpy(folder: Path, chosen: Recipe, val: str = "val", **options: Any):
    return linear.train_head(table(folder, "train"), table(folder, val), first(chosen), chosen, **options)


def in_torch(folder: Path, chosen: Recipe):
    cpu = torch.device("cpu")
    head = classifier.build(chosen.head_facts, first(chosen))
    train, val = (FeatureInputs(table(folder, split), cpu) for split in ("train", "val"))
    phase = Phase(head, [list(head.parameters())], train, val, 0, chosen.epochs, chosen.lr)
    fitted = Fit([phase], chosen, cpu).run()
    return {name: value.numpy() for name, value in fitted.best.items()}, fitted


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_means_what_it_means_in_torch(folder, name):
    chosen = recipe(**SETTINGS[name])
    learnt, (head, fitted) = in_numpy(folder, chosen), in_torch(folder, chosen)
    assert learnt.best_epoch == fitted.best_epoch
    assert len(learnt.history) == len(fitted.history)
    for ours, theirs in zip(learnt.history, fitted.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    for part, value in head.items():
        np.testing.assert_allclose(learnt.head[part], value, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(learnt.logits, fitted.logits.numpy(), rtol=1e-3, atol=1e-3)


def test_each_setting_changes_the_result(folder):
    """Otherwise the agreement above would say nothing of a setting that both leave out."""
    plain = in_numpy(folder, recipe()).head["0.weight"]
    for name, changes in SETTINGS.items():
        if changes:
            assert not np.allclose(in_numpy(folder, recipe(**changes)).head["0.weight"], plain, atol=1e-5), name


def test_the_same_bits_every_time(folder):
    one, again = (in_numpy(folder, recipe(mixup=0.2, ema=0.9)) for _ in range(2))
    assert all(np.array_equal(one.head[name], again.head[name]) for name in one.head)
    assert one.history == again.history


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", ["adamw, cosine", "mixup, smoothed, weighed", "sampler", "patience, by accuracy"])
def test_a_handful_of_samples_is_enough(folder, count, name):
    """Also where classes are missing, and where one sample is all that there is to validate with."""
    chosen = recipe(**SETTINGS[name])
    train = Table([Shards(folder / "train")], [np.arange(count)])
    val = Table([Shards(folder / "val")], [np.arange(1)])
    trained = linear.train_head(train, val, first(chosen), chosen)
    assert np.isfinite(trained.logits).all()
    assert fit_temperature(trained.logits, val.labels) == 1


def test_the_training_seed_alone_changes_the_training(folder):
    one, other = (in_numpy(folder, recipe(train_seed=seed)) for seed in (0, 1))
    assert np.array_equal(one.head["0.weight"], in_numpy(folder, recipe()).head["0.weight"])
    assert not np.array_equal(one.head["0.weight"], other.head["0.weight"])


def test_what_it_starts_from_stays_as_it_is(folder):
    chosen = recipe()
    start = first(chosen)
    kept = {name: value.copy() for name, value in start.items()}
    linear.train_head(table(folder, "train"), table(folder, "val"), start, chosen)
    assert all(np.array_equal(start[name], kept[name]) for name in kept)


def test_without_validation_samples_the_last_epoch_is_kept(folder):
    learnt = in_numpy(folder, recipe(patience=1), "none")
    assert learnt.best_epoch == 5
    assert learnt.history[-1]["val_loss"] is None
    assert learnt.logits.shape == (0, 3)


def test_a_loss_that_runs_away_names_the_step_and_three_things_to_try(folder):
    chosen = recipe(lr=1e30, optimizer="sgd")
    message = r"the loss is \S+ in epoch 1, step \d: .*lower lr \(it is 1e\+30; .*grad_clip: 1, or an epoch of warm-up"
    with pytest.raises(TrainingError, match=message):
        in_numpy(folder, chosen)


def test_no_training_images_are_an_error(folder):
    with pytest.raises(TrainingError, match="the train split is empty"):
        linear.train_head(table(folder, "none"), table(folder, "val"), first(recipe()), recipe())


def test_every_epoch_is_reported_and_watched(folder):
    counts, seen = [], []
    watchers = [lambda row, seconds: seen.append((row["epoch"], seconds >= 0))]
    in_numpy(folder, recipe(), reporter=Reporter(lambda rows: counts.append(len(rows)), watchers))
    assert counts == [1, 2, 3, 4, 5, 6]
    assert seen == [(epoch, True) for epoch in counts]


def test_long_trainings_other_heads_and_thawing_belong_to_torch():
    suits = linear.suits
    assert suits(recipe(), 20_000, 1280, 100)
    assert not suits(recipe(head="mlp"), 1000, 1280, 2)
    assert not suits(recipe(freeze="none"), 1000, 1280, 2)
    assert not suits(dataclasses.replace(recipe(), thaw_epoch=1), 1000, 1280, 2)
    assert not suits(recipe(), 1_280_000, 2048, 1000)
    assert not suits(recipe(batch_size=1), 1_000_000, 8, 2)


def test_torch_is_not_imported():
    code = "import sys, stages.train, darkroom.training.linear; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_same_bits_on_every_processor_that_can_be_imitated():
    hashes = {name: hash_on(changes, ["-m", "tests.training.exact_head"]) for name, changes in PROCESSORS.items()}
    assert len(set(hashes.values())) == 1, hashes
