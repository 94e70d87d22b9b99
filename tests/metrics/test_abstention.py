"""Limits below which an answer is unsure or a picture unknown, and the curve of accuracy over the share answered."""

import numpy as np
import pytest

from benchmarks.coverage import draw, lead_for
from darkroom.metrics.abstention import (
    NEVER,
    Answered,
    Wanted,
    area,
    calibrate,
    confidence,
    curve,
    measure,
    read,
)
from darkroom.metrics.conformal import share
from darkroom.metrics.predictions import Predictions


def answered(right: list[bool], sure: list[float], similarity: list[float] | None = None) -> Answered:
    """Return answers of two classes, all of them the first one, with these confidences."""
    labels = np.where(right, 0, 1)
    probabilities = np.column_stack([sure, 1 - np.array(sure)])
    return Answered(labels, probabilities, None if similarity is None else np.array(similarity, np.float32))


def of(predictions: Predictions, similarity: np.ndarray | None) -> Answered:
    return Answered(predictions.labels, predictions.probabilities, similarity)


def test_the_share_answered_and_the_accuracy_wanted_are_kept_on_average():
    lead = lead_for(5, 0.85)
    future = of(draw(20_000, 5, lead, 1.0, 999), None)
    shares, accuracies = [], []
    for seed in range(200):
        val = of(draw(300, 5, lead, 1.0, seed), None)
        shares.append((future.confidence >= confidence(val, Wanted(None, 0.05, answer_share=0.8))).mean())
        given = future.confidence >= confidence(val, Wanted(None, 0.05, answer_accuracy=0.93))
        accuracies.append(future.right[given].mean())
    assert 0.79 < np.mean(shares) < 0.82
    assert 0.925 < np.mean(accuracies) < 0.94


def test_the_stated_share_of_pictures_like_the_training_images_is_called_unknown():
    rng = np.random.default_rng(0)
    flagged = []
    for _ in range(200):
        similarity = rng.normal(size=160)
        plain = np.zeros(100)
        val = Answered(np.zeros(60, np.int64), np.ones((60, 1)), similarity[:60])
        test = Answered(plain.astype(np.int64), np.ones((100, 1)), similarity[60:])
        wanted = Wanted(None, 0.05)
        flagged.append(measure(test, calibrate(val, wanted), wanted)["unknown"]["flagged"])
    assert 0.04 < np.mean(flagged) <= 0.055


def test_images_of_which_nothing_is_known_are_unknown_and_unsure():
    val = answered([True] * 40, [0.9] * 40, [0.8] * 40)
    test = Answered(np.zeros(2, np.int64), np.array([[np.nan, np.nan], [0.95, 0.05]]), np.array([np.nan, 0.9]))
    wanted = Wanted(None, 0.05, answer_share=0.9)
    table = measure(test, calibrate(val, wanted), wanted)
    assert table["unknown"]["flagged"] == 0.5
    assert table["answering"]["answered"] == 0.5
    assert table["answering"]["accuracy"] == 1


def test_too_few_validation_images_promise_no_share_of_false_flags():
    val = answered([True] * 18, [0.9] * 18, np.linspace(0.5, 0.9, 18).tolist())
    limits = calibrate(val, Wanted(None, 0.05))
    assert limits.similarity is None
    table = measure(val, limits, Wanted(None, 0.05))
    assert table["unknown"]["flagged"] == 0
    assert table["unknown"]["threshold"] is None


def test_an_accuracy_is_kept_with_one_error_more_than_was_seen():
    right = [True] * 30 + [False] + [True] * 10
    sure = np.linspace(0.99, 0.6, 41).tolist()
    assert confidence(answered(right, sure), Wanted(None, 0.05, answer_accuracy=0.9)) == pytest.approx(0.6, abs=1e-6)
    found = confidence(answered(right, sure), Wanted(None, 0.05, answer_accuracy=0.96))
    assert found == pytest.approx(sure[29], abs=1e-6)  # the error is left out
    assert confidence(answered(right, sure), Wanted(None, 0.05, answer_accuracy=0.99)) == NEVER


def test_images_with_the_same_confidence_are_answered_together_or_not_at_all():
    right = [True] * 50 + [False] * 50
    assert confidence(answered(right, [0.9] * 100), Wanted(None, 0.05, answer_accuracy=0.9)) == NEVER


def test_of_a_share_and_an_accuracy_the_stricter_limit_counts():
    val = answered([True] * 99 + [False], np.linspace(0.99, 0.5, 100).tolist())
    share, accuracy = Wanted(None, 0.05, 0.5), Wanted(None, 0.05, None, 0.97)
    both = confidence(val, Wanted(None, 0.05, 0.5, 0.97))
    assert both == max(confidence(val, share), confidence(val, accuracy))
    assert confidence(val, Wanted(None, 0.05)) is None


def test_the_curve_and_its_area_count_errors_from_the_surest_answer_on():
    test = answered([True, True, False, True], [0.9, 0.8, 0.7, 0.6])
    rows = list(curve(test))
    assert [row[0] for row in rows] == [0.25, 0.5, 0.75, 1]
    assert [row[1] for row in rows] == [1, 1, pytest.approx(2 / 3), 0.75]
    assert area(test) == pytest.approx((1 / 3 + 1 / 4) / 4, abs=1e-6)


def test_nothing_fails_without_images():
    nothing = Answered(np.empty(0, np.int64), np.empty((0, 3)), np.empty(0, np.float32))
    wanted = Wanted(None, 0.05, 0.9, 0.95)
    limits = calibrate(nothing, wanted)
    table = measure(nothing, limits, wanted)
    assert list(curve(nothing)) == []
    assert table["answering"]["aurc"] is None
    assert table["unknown"]["flagged"] is None


def test_limits_are_read_back_as_they_were_written():
    val = of(draw(300, 3, 2.0, 1.0, 0), np.linspace(0.4, 0.9, 300))
    wanted = Wanted(0.97, 0.1, 0.9, None)
    limits = calibrate(val, wanted)
    assert read(measure(val, limits, wanted)) == (wanted, limits)


def test_images_that_err_together_widen_the_interval_of_a_share():
    flagged = np.repeat([True, False] * 10, 10)
    alone, together = share("flagged", flagged), share("flagged", flagged, np.repeat(np.arange(20), 10))
    assert alone["flagged"] == together["flagged"] == 0.5
    width = [found["flagged_high"] - found["flagged_low"] for found in (alone, together)]
    assert width[1] > 2 * width[0]
