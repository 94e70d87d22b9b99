import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from darkroom.metrics.scores import Scorer, confusion, most_probable
from tests.metrics.made import draw


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    scorer, once = Scorer.of(labels, probabilities), np.ones((1, len(labels)))
    plain = scorer.plain(once)
    plain.pop("f1_by_class")
    return {name: float(values[0]) for name, values in (plain | scorer.ranked(once)).items()}


def by_sklearn(labels: np.ndarray, p: np.ndarray) -> dict[str, float]:
    predicted, classes = p.argmax(axis=1), np.arange(p.shape[1])
    present = np.unique(labels)
    found = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.recall_score(labels, predicted, average="macro", labels=present),
        "cohen_kappa": metrics.cohen_kappa_score(labels, predicted),
        "log_loss": metrics.log_loss(labels, p, labels=classes),
        "brier": metrics.brier_score_loss(labels, p if p.shape[1] > 2 else p[:, 1], labels=classes),
        "roc_auc": np.mean([metrics.roc_auc_score(labels == c, p[:, c]) for c in present]),
        "average_precision": np.mean([metrics.average_precision_score(labels == c, p[:, c]) for c in present]),
    }
    for average in ("macro", "weighted"):
        p_, r, f, _ = metrics.precision_recall_fscore_support(
            labels, predicted, average=average, labels=present, zero_division=0
        )
        found |= {f"{average}_precision": p_, f"{average}_recall": r, f"{average}_f1": f}
    if len(classes) > 5:
        own = p[np.arange(len(labels)), labels][:, None]
        found["top5_accuracy"] = metrics.top_k_accuracy_score(labels, p, k=5, labels=classes)
        if (np.sum(p == own, axis=1) > 1).any():  # scikit-learn breaks ties by the last class, this by the first
            del found["top5_accuracy"]
    return found


@pytest.mark.parametrize(
    ("n", "classes", "present"), [(300, 2, 2), (400, 3, 3), (500, 10, 10), (200, 12, 7), (60, 40, 30)]
)
def test_every_score_equals_scikit_learns(n, classes, present):
    labels, probabilities = draw(n, classes, present=present)
    ours = score(labels, probabilities)
    for name, value in by_sklearn(labels, probabilities).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_integer_weights_equal_repeated_images():
    labels, probabilities = draw(80, 4)
    times = np.random.default_rng(1).integers(0, 4, 80)
    weighted = Scorer.of(labels, probabilities)
    repeated = Scorer.of(np.repeat(labels, times), np.repeat(probabilities, times, axis=0))
    ones = np.ones((1, times.sum()))
    for method in ("plain", "ranked"):
        a, b = getattr(weighted, method)(times[None].astype(float)), getattr(repeated, method)(ones)
        for name in a:
            assert a[name] == pytest.approx(b[name], abs=1e-12, nan_ok=True), name


def test_ece_is_the_mean_gap_between_confidence_and_accuracy():
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.62, 0.38]] * 5)
    labels = np.array([0] * 7 + [1] * 3 + [0] * 5)  # 70 % right at 0.9; 100 % right at 0.62
    assert score(labels, probabilities)["ece"] == pytest.approx((10 * 0.2 + 5 * 0.38) / 15)


def test_top5_counts_the_true_class_among_the_first_five():
    probabilities = np.array([[0.3, 0.25, 0.2, 0.1, 0.08, 0.07]])
    assert score(np.array([4]), probabilities)["top5_accuracy"] == 1
    assert score(np.array([5]), probabilities)["top5_accuracy"] == 0
    assert "top5_accuracy" not in score(np.array([0]), np.full((1, 5), 0.2))


def test_constant_probabilities_count_ties_as_half_an_area():
    labels = np.array([0, 0, 1, 1, 1])
    found = score(labels, np.tile([0.5, 0.5], (5, 1)))
    assert (found["roc_auc"], found["accuracy"], found["cohen_kappa"]) == (0.5, 0.4, 0.0)


def test_one_class_only_has_no_ranking_and_no_kappa():
    found = score(np.zeros(4, int), np.tile([0.8, 0.2], (4, 1)))
    assert found["accuracy"] == 1
    assert np.isnan([found["roc_auc"], found["average_precision"], found["cohen_kappa"]]).all()


def test_an_image_with_nan_probabilities_is_wrong_and_has_no_loss():
    labels, probabilities = draw(20, 3)
    right = (probabilities.argmax(axis=1) == labels).sum() - (probabilities[0].argmax() == labels[0])
    probabilities[0, 1] = np.nan
    found = score(labels, probabilities)
    assert found["accuracy"] == pytest.approx(right / 20)
    assert np.isfinite(found["macro_f1"])
    assert np.isnan([found[name] for name in ("log_loss", "brier", "ece", "roc_auc", "average_precision")]).all()


def test_perfect_answers_score_one_and_lose_nothing():
    labels = np.arange(12) % 4
    found = score(labels, np.eye(4)[labels])
    assert {name: found[name] for name in ("accuracy", "macro_f1", "cohen_kappa", "roc_auc")} == dict.fromkeys(
        ("accuracy", "macro_f1", "cohen_kappa", "roc_auc"), 1.0
    )
    assert (found["log_loss"], found["brier"], found["ece"]) == (0, 0, 0)


def test_confusion_leaves_out_images_without_an_answer():
    assert confusion(np.array([0, 0, 1]), np.array([1, -1, 1]), 2).tolist() == [[0, 1], [0, 1]]


def test_the_first_of_equal_probabilities_is_the_answer_and_nan_is_none():
    assert most_probable(np.array([[0.5, 0.5], [np.nan, 1.0]])).tolist() == [0, -1]
    assert most_probable(np.empty((2, 0))).tolist() == [-1, -1]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 10_000), st.booleans())
def test_no_table_of_probabilities_warns_or_leaves_the_range(n, classes, seed, extreme):
    labels, probabilities = draw(n, classes, seed)
    if extreme:
        probabilities = np.eye(classes)[probabilities.argmax(axis=1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score(labels, probabilities)
    for name, value in found.items():
        assert np.isnan(value) or -1 <= value <= (40 if name == "log_loss" else 2) + 1e-12, name
