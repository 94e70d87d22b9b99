"""Sets of classes: their coverage by simulation, and what happens with few, rare or odd validation images."""

import itertools

import numpy as np
import pytest

from benchmarks.coverage import draw, lead_for
from darkroom.metrics import conformal
from darkroom.metrics.conformal import calibrate, in_words, measure, quantile, sets, thresholds


@pytest.mark.parametrize(("classes", "images", "accuracy"), [(2, 150, 0.8), (5, 100, 0.7), (10, 400, 0.9)])
def test_sets_hold_the_right_class_as_often_as_their_level_says(classes, images, accuracy):
    lead = lead_for(classes, accuracy)
    future = draw(20_000, classes, lead, 1.0, 999)
    found = {level: [] for level in conformal.LEVELS}
    for seed in range(60):
        val = draw(images, classes, lead, 1.0, seed)
        for level, limits in calibrate(val.labels, val.probabilities, None)[1].items():
            found[level].append(measure(future.labels, future.probabilities, limits)["coverage"])
    for level, coverages in found.items():
        assert np.mean(coverages) > level - 0.005, level


def test_the_level_holds_for_a_hard_class_with_enough_images_and_not_only_on_average():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    sure = np.where(labels == 0, rng.beta(30, 1, 4000), rng.beta(2, 2, 4000))  # of the right class
    probabilities = np.where(np.arange(2) == labels[:, None], sure[:, None], 1 - sure[:, None])
    val, test = slice(0, 2000), slice(2000, 4000)
    together = quantile(probabilities[val][np.arange(2000), labels[val]], 0.1)
    hard = labels[test] == 1
    plain = measure(labels[test][hard], probabilities[test][hard], together)
    own = measure(labels[test][hard], probabilities[test][hard], thresholds(labels[val], probabilities[val], 0.9))
    assert plain["coverage"] < 0.85
    assert own["coverage"] > 0.88


def test_no_set_is_empty_and_ties_are_all_in_it():
    probabilities = np.array([[0.4, 0.35, 0.25], [0.5, 0.5, 0.0], [0.9, 0.06, 0.04]])
    assert sets(probabilities, 0.95).tolist() == [[True, False, False], [True, False, False], [True, False, False]]
    assert sets(probabilities, 0.5).tolist() == [[True, False, False], [True, True, False], [True, False, False]]


def test_an_answer_that_is_not_a_number_rules_nothing_out():
    assert sets(np.array([[np.nan, 0.5], [0.9, 0.1]]), 0.8).tolist() == [[True, True], [True, False]]


def test_a_set_holds_the_sets_of_all_lower_levels():
    val = draw(700, 10, 2.0, 1.0, 3)  # 70 of a class: own thresholds at 0.9, shared ones at 0.95 and 0.99
    _, found = calibrate(val.labels, val.probabilities, 0.97)
    assert list(found) == [0.9, 0.95, 0.97, 0.99]
    chosen = [sets(val.probabilities, limits) for limits in found.values()]
    for smaller, larger in itertools.pairwise(chosen):
        assert (larger | ~smaller).all()


@pytest.mark.parametrize(
    ("images", "levels"), [(0, []), (2, []), (8, []), (9, [0.9]), (19, [0.9, 0.95]), (98, [0.9, 0.95])]
)
def test_a_level_that_so_few_images_cannot_promise_is_left_out(images, levels):
    val = draw(images, 2, 3.0, 1.0, 0)
    first, found = calibrate(val.labels, val.probabilities, None)
    assert list(found) == levels
    assert (first is None) == (not levels)


def test_the_level_shown_first_is_the_lowest_above_the_accuracy():
    lead = lead_for(3, 0.97)
    val = draw(400, 3, lead, 1.0, 0)
    assert calibrate(val.labels, val.probabilities, None)[0] == 0.99
    val = draw(400, 3, 1.0, 1.0, 0)
    assert calibrate(val.labels, val.probabilities, None)[0] == 0.9
    assert calibrate(val.labels, val.probabilities, 0.93)[0] == 0.93


def test_sets_of_nearly_all_classes_are_not_shown_first():
    """3 % wrong labels, of which the model is sure: at 99 % every set holds every class."""
    labels = np.arange(600) % 10
    probabilities = np.full((600, 10), 1e-6)
    probabilities[np.arange(600), labels] = 1 - 9e-6
    labels[:18] = (labels[:18] + 1) % 10
    first, found = calibrate(labels, probabilities, None)
    assert measure(labels, probabilities, found[0.99])["mean_size"] == 10
    assert first == 0.95
    assert calibrate(labels, probabilities, 0.99)[0] == 0.99


def test_a_level_that_was_asked_for_and_cannot_be_promised_gives_way_to_the_highest():
    val = draw(50, 3, 1.0, 1.0, 0)
    first, found = calibrate(val.labels, val.probabilities, 0.999)
    assert (first, list(found)) == (0.95, [0.9, 0.95])


def test_a_class_without_a_validation_image_has_the_threshold_that_the_others_share():
    val = draw(300, 3, 2.0, 1.0, 0)
    labels = np.where(val.labels == 2, 0, val.labels)
    limits = thresholds(labels, val.probabilities, 0.9)
    for_all = quantile(val.probabilities[np.arange(300), labels], 0.1)
    assert limits[2] == for_all
    assert limits[0] != limits[1]


def test_rare_classes_get_a_threshold_that_all_of_their_images_reach():
    labels = np.array([0] * 200 + [1] * 3)
    probabilities = np.full((203, 2), 0.0)
    probabilities[:200] = [0.99, 0.01]
    probabilities[200:] = [[0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]
    assert thresholds(labels, probabilities, 0.9) == [0.99, 0.2]


def test_a_thousand_classes_and_a_single_one():
    val = draw(2000, 1000, 8.0, 1.0, 0)
    first, found = calibrate(val.labels, val.probabilities, None)
    assert first in found
    assert sets(val.probabilities, found[first]).sum(axis=1).min() >= 1
    assert sets(np.ones((3, 1)), calibrate(np.zeros(30, np.int64), np.ones((30, 1)), None)[1][0.9]).all()


def test_a_quantile_is_a_value_that_the_stated_share_falls_below():
    values = np.arange(1, 20) / 100
    assert quantile(values, 0.05) == 0.01
    assert quantile(values[:18], 0.05) is None
    assert quantile(values, 0.1) == 0.02
    assert quantile(np.array([0.1234567] * 19), 0.05) == 0.123456  # to the side of a larger set
    assert quantile(values, 1 - 1e-12) == max(values)


def test_a_set_in_words():
    names = [f"class {number}" for number in range(9)]
    assert in_words(names[:1]) == "class 0"
    assert in_words(names[:2]) == "class 0 or class 1"
    assert in_words(names[:3]) == "class 0, class 1 or class 2"
    assert in_words(names) == "class 0, class 1, class 2, class 3, class 4 or 4 more"
