import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from darkroom.metrics.label_errors import label_errors


def spoiled_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of which 30 are wrong, the places of those, and out-of-sample probabilities."""
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    places = rng.choice(len(labels), 30, replace=False)
    spoiled = labels.copy()
    spoiled[places] = (labels[places] + rng.integers(1, 10, 30)) % 10
    model = KNeighborsClassifier(12, weights="distance")
    return spoiled, places, cross_val_predict(model, images, spoiled, cv=3, method="predict_proba")


def test_the_same_images_as_cleanlab_in_the_same_order():
    labels, places, probabilities = spoiled_digits()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cleanlab.filter import find_label_issues
    expected = find_label_issues(
        labels, probabilities, filter_by="confident_learning", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    found = label_errors(labels, probabilities)
    assert sorted(found.tolist()) == sorted(expected.tolist())
    own = probabilities[np.arange(len(labels)), labels]
    assert own[found].tolist() == own[expected].tolist()  # equals may change places
    assert len(set(found) & set(places)) >= 25


def test_images_without_probabilities_and_absent_classes_are_no_suspects():
    probabilities = np.array([[0.9, 0.05, 0.05], [np.nan, np.nan, np.nan], [0.1, 0.1, 0.8]])
    assert label_errors(np.array([0, 0, 0]), probabilities).tolist() == []
    assert label_errors(np.empty(0, np.int64), np.empty((0, 3))).tolist() == []
