from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from darkroom.metrics import curves
from darkroom.metrics.summary import summarise
from tests.metrics.made import draw, predictions


def test_class_curves_enclose_the_areas_that_scikit_learn_finds():
    labels, probabilities = draw(300, 4)
    own = predictions(labels, probabilities)
    for place, (_, x, y) in enumerate(curves.class_curves(own, "roc")):
        expected_x, expected_y, _ = roc_curve(labels == place, probabilities[:, place], drop_intermediate=False)
        assert x == pytest.approx(expected_x)
        assert y == pytest.approx(expected_y)
        assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(labels == place, probabilities[:, place]))
    for place, (_, recall, precision) in enumerate(curves.class_curves(own, "precision_recall")):
        expected_p, expected_r, _ = precision_recall_curve(labels == place, probabilities[:, place])
        area = average_precision_score(labels == place, probabilities[:, place])
        assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(area)
        assert set(np.round(expected_r, 9)) >= set(np.round(recall[1:], 9))
        assert len(expected_p) >= len(precision) - 1


def test_averaged_curves_run_over_the_whole_grid_and_only_upwards():
    own = predictions(*draw(300, 4))
    rows = list(curves.roc_rows(own))
    assert [row[0] for row in rows] == np.linspace(0, 1, 101).round(2).tolist()
    assert rows[-1][1] == 1
    assert all(one[1] <= two[1] for one, two in pairwise(rows))
    assert len(list(curves.precision_recall_rows(own))) == 101


def test_reliability_counts_every_image_once():
    own = predictions(*draw(300, 4))
    rows = list(curves.reliability_rows(own))
    assert sum(row[-1] for row in rows) == 300
    assert all(low <= accuracy <= high for _, accuracy, low, high, _ in rows)


def test_tables_of_odd_predictions_are_empty_and_not_wrong():
    nothing = predictions(np.array([0, 1]), np.full((2, 2), np.nan))
    assert list(curves.confusion_rows(nothing)) == []
    assert list(curves.reliability_rows(nothing)) == []
    assert list(curves.roc_rows(nothing)) == []
    single = predictions(np.array([1]), np.array([[0.2, 0.8]]))
    assert list(curves.roc_rows(single)) == []
    assert list(curves.precision_recall_rows(single)) == []


def test_classes_come_with_the_lowest_f1_first_and_absent_ones_last():
    own = predictions(*draw(100, 5, present=4))
    table = summarise(own, 0, count=50)["per_class"]
    rows = list(curves.per_class_rows(own, table))
    assert rows[-1][0] == "class 4"
    assert [row[1] for row in rows[:-1]] == sorted(row[1] for row in rows[:-1])
