import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from darkroom.training.calibrate import COLDEST, fit_temperature, softmax


def logits_and_labels(n: int = 400, classes: int = 5, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true temperature is `scale`: labels are drawn from softmax(logits / scale)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, classes)) * 2 * scale
    draws = rng.random((n, 1))
    labels = (np.cumsum(softmax(logits, scale), axis=1) < draws).sum(axis=1)
    return logits, labels


def test_the_fitted_temperature_is_the_minimum_that_scipy_finds():
    logits, labels = logits_and_labels(n=20_000)

    def loss(log_t: float) -> float:
        return -log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(labels)), labels].mean()

    best = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-7}).x)
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=2e-3)
    assert best == pytest.approx(3.0, rel=0.05)


def test_scaling_by_the_temperature_never_changes_the_answer():
    logits, labels = logits_and_labels()
    scaled = softmax(logits, fit_temperature(logits, labels))
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert scaled.sum(axis=1) == pytest.approx(1)


def test_perfect_validation_answers_do_not_ask_for_certainty():
    labels = np.arange(20) % 2
    logits = np.eye(2)[labels] * 4.0
    temperature = fit_temperature(logits, labels)
    assert COLDEST < temperature < 2
    assert softmax(logits, temperature).max() == pytest.approx(1 - 0.5 / 22, abs=1e-4)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.empty((0, 3)), np.empty(0, int)),
        (np.zeros((4, 1)), np.zeros(4, int)),
        (np.full((4, 3), np.nan), np.zeros(4, int)),
        (np.zeros((4, 3)), np.zeros(4, int)),
    ],
    ids=["none", "one class", "NaN", "constant"],
)
def test_without_usable_logits_the_temperature_is_one(logits, labels):
    assert fit_temperature(logits, labels) == 1.0
