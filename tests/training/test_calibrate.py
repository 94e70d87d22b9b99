import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from darkroom.core.exactmath import softmax
from darkroom.training.calibrate import fit_temperature


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
    assert fit_temperature(np.eye(2)[labels] * 4.0, labels) == 1.0
    cold = fit_temperature(np.eye(2)[labels] * 0.4, labels)  # unsure of what is always right
    assert 0.05 < cold < 0.2
    assert softmax(np.eye(2) * 0.4, cold).max() == pytest.approx(1 - 0.5 / 22, abs=1e-4)


def test_a_temperature_that_does_not_help_other_samples_is_not_taken():
    """Of calibrated logits few samples ask for a temperature by chance; on the others it does harm."""
    fitted = [fit_temperature(*drawn(seed, n=40)) for seed in range(40)]
    assert sum(temperature == 1 for temperature in fitted) > 15
    assert all(1.5 < fit_temperature(*drawn(seed, n=400, scale=3.0)) < 5 for seed in range(5))


def drawn(seed: int, n: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels as `logits_and_labels` makes them, of another seed."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3)) * 2 * scale
    labels = (np.cumsum(softmax(logits, scale), axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits, labels


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
