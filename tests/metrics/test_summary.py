import json
import time

import numpy as np
import pytest

from darkroom.metrics.predictions import Predictions
from darkroom.metrics.summary import ranked_resamples, summarise
from tests.metrics.made import draw, predictions


def test_every_score_lies_in_its_interval():
    table = summarise(predictions(*draw(400, 8)), seed=0)
    for name in ("accuracy", "top5_accuracy", "macro_f1", "weighted_precision", "roc_auc", "average_precision",
                 "cohen_kappa", "log_loss", "brier", "ece", "balanced_accuracy", "macro_recall"):  # fmt: skip
        assert table[f"{name}_low"] <= table[name] + 0.02, name
        assert table[f"{name}_low"] < table[f"{name}_high"], name
    assert table["ece_low"] <= table["ece"] <= table["ece_high"]
    f1 = table["per_class"]["class 3"]
    assert f1["f1_low"] < f1["f1"] < f1["f1_high"]
    assert table["n"] == 400


def test_the_ece_of_a_calibrated_classifier_lies_in_its_interval():
    """Of such a one every resample's is larger, and the percentiles of the resamples alone would not hold it."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shares = rng.dirichlet([0.3] * 4, 300)
        labels = (shares.cumsum(axis=1) < rng.random((300, 1))).sum(axis=1)
        table = summarise(predictions(labels, shares), seed=0, count=200)
        assert table["ece_low"] <= table["ece"] < table["ece_high"]


def test_the_same_seed_gives_the_same_table_and_six_digits():
    one, two = (summarise(predictions(*draw(100, 3)), seed=5) for _ in range(2))
    assert one == two
    assert one != summarise(predictions(*draw(100, 3)), seed=6)
    assert all(len(str(v).partition(".")[2]) <= 6 for v in one.values() if isinstance(v, float))


@pytest.mark.parametrize(
    ("case", "labels", "probabilities"),
    [
        ("a class absent", np.array([0, 0, 1, 1]), np.tile([0.5, 0.3, 0.2], (4, 1))),
        ("one class only", np.array([0, 0]), np.ones((2, 1))),
        ("one class of two", np.array([1, 1, 1]), np.tile([0.1, 0.9], (3, 1))),
        ("a single image", np.array([1]), np.array([[0.4, 0.6]])),
        ("perfect", np.arange(20) % 4, np.eye(4)[np.arange(20) % 4]),
        ("constant", np.arange(20) % 4, np.full((20, 4), 0.25)),
        ("NaN", np.array([0, 1, 1]), np.array([[np.nan, 1.0], [0.2, 0.8], [0.9, 0.1]])),
        ("all NaN", np.array([0, 1]), np.full((2, 2), np.nan)),
        ("no image", np.empty(0, np.int64), np.empty((0, 3))),
    ],
)
def test_odd_test_sets_give_numbers_or_null(case, labels, probabilities):
    table = summarise(predictions(labels, probabilities), seed=0)
    json.dumps(table, allow_nan=False)
    assert table["n"] == len(labels)
    if case == "a class absent":
        assert table["per_class"]["class 2"]["recall"] is None
        assert table["per_class"]["class 2"]["f1"] is None
        assert table["balanced_accuracy"] == 0.5
    if case == "a single image":
        assert (table["accuracy"], table["accuracy_low"], table["accuracy_high"]) == (1, 0.003972, 1)
        assert table["macro_f1_low"] is None
        assert table["roc_auc"] is None
    if case == "NaN":
        assert (table["unanswered"], table["log_loss"], table["accuracy"]) == (1, None, round(1 / 3, 6))


def test_a_thousand_classes_take_seconds_and_bounded_memory():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2_000, 2_000)
    probabilities = rng.random((2_000, 2_000), dtype=np.float32)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    started = time.monotonic()
    table = summarise(predictions(labels, probabilities), seed=0)
    assert time.monotonic() - started < 30
    assert len(table["per_class"]) == 2_000
    assert table["roc_auc"] is not None
    assert table["roc_auc_low"] is None


def test_ranking_scores_get_fewer_resamples_on_larger_tables_and_none_on_huge_ones():
    assert ranked_resamples(360, 10) == 1000
    assert ranked_resamples(10_000, 10) == 400
    assert ranked_resamples(10_000, 100) == 100
    assert ranked_resamples(50_000, 1000) == 0


@pytest.mark.parametrize("images", [1, 2, 5, 30, 200])
@pytest.mark.parametrize("right", [0, 0.5, 1])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("group", [0, 1, 2, 50])
def test_every_printed_interval_of_an_odd_test_set_has_a_width_and_holds_its_score(images, right, confidence, group):
    labels = np.arange(images) % 2
    answers = np.where(np.random.default_rng(0).random(images) < right, labels, 1 - labels)
    probabilities = np.where(answers[:, None] == [0, 1], confidence, 1 - confidence)
    groups = [str(row // group) for row in range(images)] if group else []
    found = summarise(Predictions.of([""] * images, ["a", "b"], labels, probabilities, groups), 0, count=30)
    for name in [key.removesuffix("_low") for key in found if key.endswith("_low")]:
        low, high = found[f"{name}_low"], found[f"{name}_high"]
        if low is not None:
            assert -1 <= low <= found[name] + 1e-6, name
            assert found[name] - 1e-6 <= high, name
            assert low < high, name


def test_groups_of_one_image_are_no_groups():
    labels, probabilities = draw(300, 3)
    alone = predictions(labels, probabilities)
    grouped = Predictions.of(alone.ids, alone.classes, labels, probabilities, [str(row) for row in range(300)])
    assert summarise(alone, 0, 50) == summarise(grouped, 0, 50)
