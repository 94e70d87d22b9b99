import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from darkroom.metrics.label_errors import agree_enough, label_errors, likely_label_errors


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


def calibrated(count: int, classes: int, skill: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (count, classes) of a model that knows how little it knows, and labels drawn from them."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, classes)) + skill * np.eye(classes)[rng.integers(0, classes, count)]
    shares = np.exp(2 * logits)
    shares /= shares.sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return np.minimum(labels, classes - 1), shares


def test_the_errors_of_a_weak_model_are_not_taken_for_those_of_the_labels():
    labels, shares = calibrated(2000, 40, 2.5)
    assert 0.4 < (shares.argmax(axis=1) == labels).mean() < 0.7
    assert len(label_errors(labels, shares)) > 100
    assert len(likely_label_errors(labels, shares)) <= 5  # chance alone


def test_at_least_half_of_the_likely_ones_are_wrong_labels():
    labels, shares = calibrated(2000, 40, 3.5)
    rng = np.random.default_rng(1)
    changed = rng.random(len(labels)) < 0.05
    spoiled = np.where(changed, (labels + rng.integers(1, 40, len(labels))) % 40, labels)
    found = likely_label_errors(spoiled, shares)
    assert len(found) >= 30
    assert changed[found].mean() >= 0.5 > changed[label_errors(spoiled, shares)].mean()


def test_the_wrong_labels_that_a_good_model_finds_stay_likely():
    labels, places, probabilities = spoiled_digits()
    found, likely = label_errors(labels, probabilities), likely_label_errors(labels, probabilities)
    assert set(likely) <= set(found)
    assert len(set(likely) & set(places)) >= 0.9 * len(set(found) & set(places))


def test_nothing_is_likely_without_probabilities():
    nothing = np.full((3, 2), np.nan)
    assert likely_label_errors(np.array([0, 1, 0]), nothing).tolist() == []


def test_answers_agree_enough_where_most_surely_do_and_more_than_by_chance():
    rare, sure = np.repeat([0, 1], [190, 10]), np.eye(10)
    assert agree_enough(rare, sure[np.where(np.arange(200) >= 194, 1, 0)])
    assert not agree_enough(rare, sure[np.zeros(200, int)])
    assert not agree_enough(rare, np.full((200, 10), np.nan))
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 2)
    many = np.repeat(np.arange(10), 20)
    right = {share: np.where(np.arange(200) % 20 < share * 20, many, (many + 1) % 10) for share in (0.4, 0.7)}
    assert {share: agree_enough(many, sure[answers]) for share, answers in right.items()} == {0.4: False, 0.7: True}
    assert sum(agree_enough(labels, sure[rng.integers(0, 10, 20)]) for _ in range(200)) <= 12


def test_no_label_is_likely_wrong_to_a_model_that_answers_by_chance():
    rng = np.random.default_rng(0)
    labels, shares = rng.integers(0, 10, 60), rng.dirichlet(np.full(10, 0.05), 60)
    assert len(label_errors(labels, shares)) > 10
    assert likely_label_errors(labels, shares).tolist() == []
