from dataclasses import replace

import numpy as np
import pytest

from darkroom.metrics.predictions import Predictions
from darkroom.reproduction.differences import Results
from darkroom.reproduction.verify import compare, judge, metrics_inside

LABELS = np.array([0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.501, 0.499]])
METRICS = {"accuracy": 2 / 3, "accuracy_low": 0.2, "accuracy_high": 0.9, "n": 3, "ece": None, "ece_low": None,
           "ece_high": None}  # fmt: skip


def answers(probabilities=PROBABILITIES, ids=("a", "b", "c"), classes=("ant", "bee")):
    return Predictions.of(list(ids), list(classes), LABELS, probabilities.copy())


def run(name, md5, predictions, metrics=METRICS):
    stages = {"evaluate": {"cmd": "x", "outs": [{"path": "metrics/test.json", "hash": "md5", "md5": md5}]}}
    return Results(name, stages, metrics, {}, predictions)


def test_the_order_of_the_images_does_not_matter():
    turned = Predictions.of(["c", "b", "a"], ["ant", "bee"], LABELS[::-1], PROBABILITIES[::-1].copy())
    found, _ = compare(answers(), turned, "one", "two")
    assert (found.n, found.largest, found.flips) == (3, 0.0, 0)


def test_flips_and_the_largest_difference_are_counted():
    found, _ = compare(answers(), answers(PROBABILITIES + np.array([[0, 0], [0, 0], [-0.004, 0.004]])), "one", "two")
    assert found.largest == pytest.approx(0.004)
    assert found.flips == 1


def test_an_image_that_one_run_could_not_answer_is_as_far_off_as_can_be():
    broken = PROBABILITIES.copy()
    broken[0] = np.nan
    assert compare(answers(), answers(broken), "one", "two")[0].largest == 1.0
    assert compare(answers(broken), answers(broken), "one", "two")[0].largest == 0.0


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (None, "the predictions of two are not at hand"),
        (answers(classes=("ant", "wasp")), "the classes are not the same"),
        (answers(ids=("a", "b", "d")), "the test images are not the same: 2 are in both"),
    ],
)
def test_what_cannot_be_compared_is_said(other, reason):
    found, why = compare(answers(), other, "one", "two")
    assert found is None
    assert reason in why


def test_the_tolerance_decides_between_the_same_and_different():
    near = answers(PROBABILITIES + np.array([[-0.009, 0.009], [0, 0], [0, 0]]))
    assert judge(run("one", "1", answers()), run("two", "2", near)).word == "same within tolerance"
    assert judge(run("one", "1", answers()), run("two", "2", near), tolerance=0.008).word == "different"


def test_near_probabilities_with_a_metric_outside_its_interval_are_different():
    verdict = judge(run("one", "1", answers()), run("two", "2", answers(), METRICS | {"accuracy": 0.95}))
    assert verdict.word == "different"
    assert verdict.outside == {"accuracy": (0.95, 0.2, 0.9)}


def test_a_metric_that_is_absent_is_not_inside():
    assert metrics_inside(METRICS, {}) == (0, {"accuracy": (None, 0.2, 0.9)})


def test_a_run_is_inside_its_own_intervals_also_where_the_bootstrap_does_not_hold_the_value():
    biased = {"ece": 0.007468, "ece_low": 0.007827, "ece_high": 0.02346}
    assert metrics_inside(biased, biased) == (1, {})
    assert metrics_inside(biased, {"ece": 0.0076}) == (1, {})
    assert metrics_inside(biased, {"ece": 0.0074}) == (0, {"ece": (0.0074, 0.007468, 0.02346)})


def test_why_the_predictions_are_absent_and_what_follows_is_said():
    lost = replace(run("one", "1", None), absent="it is in no remote")
    verdict = judge(lost, run("two", "2", answers()))
    assert verdict.word == "different"
    assert verdict.why_not_compared == (
        "the predictions of one are not at hand: it is in no remote. Without them only equal hashes count as the same"
    )
