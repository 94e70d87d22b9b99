"""Calibrate probabilities by temperature scaling: divide the logits by one number. Guo et al., ICML 2017."""

import numpy as np

from darkroom.core.exactmath import exp, log_softmax, total
from darkroom.training.losses import of_samples

COLDEST, HOTTEST = 0.05, 20.0
FOLDS = 5  # of the validation samples, to test a temperature on samples that it was not fitted to
STEPS = 60  # at most, of the search for the minimum
BLOCK = 1 << 20  # logits that are read together


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature for logits (n, K) of validation samples with labels (n,): 1 unless another is better.

    It minimises the log loss within 0.05..20, provided that temperatures fitted to 4/5 of the samples have a lower log
    loss than 1 on the remaining fifths, taken together. A temperature below 1 is fitted to labels smoothed by 1/(n+2),
    as J. Platt did in 1999: a validation set without an error would otherwise lead to probabilities of 1.
    Without usable logits (none, one class only, NaN) the temperature is 1.
    """
    usable = np.isfinite(logits).all(axis=1)
    z, y = logits[usable].astype(np.float64), np.asarray(labels)[usable]
    if len(z) < 2 or z.shape[1] < 2 or not np.ptp(z, axis=1).any():
        return 1.0
    temperature = _minimum(z, y)
    if temperature == 1:
        return 1.0
    fold = np.empty(len(y), np.int64)
    fold[np.argsort(y, kind="stable")] = np.arange(len(y)) % FOLDS  # each class in all folds
    gain = 0.0
    for number in range(FOLDS):
        held = fold == number
        if held.any() and not held.all():
            gain += log_loss(z[held], y[held]) - log_loss(z[held], y[held], _minimum(z[~held], y[~held]))
    return temperature if gain > 0 else 1.0


def log_loss(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Return the summed log loss of logits (n, K), divided by `temperature`, against labels (n,)."""
    parts = [slice(start, start + _rows(logits)) for start in range(0, len(logits), _rows(logits))]
    return float(total(np.concatenate([of_samples(logits[part], labels[part], temperature) for part in parts])))


def _minimum(z: np.ndarray, y: np.ndarray) -> float:
    """Return the temperature of the least log loss, to 6 digits; smoothed, and at most 1, where it is below 1."""
    if (b := inverse_temperature(z, y, 0.0)) > 1:
        b = max(1.0, inverse_temperature(z, y, 1.0 / (len(z) + 2)))
    return float(f"{1 / b:.6g}")


def inverse_temperature(z: np.ndarray, y: np.ndarray, smooth: float) -> float:
    """Return the b = 1/T of the least log loss, with labels smoothed by `smooth`.

    The loss is convex in b, with the slope mean(sum_k p_k z_k - target·z) and the variance of z under p as curvature:
    Newton's method, halved where it leaves the interval that is known to hold the minimum.
    """
    rows = _rows(z)
    parts = [slice(start, start + rows) for start in range(0, len(z), rows)]
    z = z - (total(z) / z.shape[1])[:, None]  # so that the share spread over all classes meets a mean of zero
    aim = (1 - smooth) * float(total(z[np.arange(len(z)), y]))

    def slope_and_curvature(b: float) -> tuple[float, float]:
        mean, square = [], []
        for part in parts:
            p = exp(log_softmax(z[part], 1 / b))
            mean.append(total(p * z[part]))
            square.append(total(p * z[part] * z[part]) - mean[-1] * mean[-1])
        return float(total(np.concatenate(mean))) - aim, float(total(np.concatenate(square)))

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope_and_curvature(low)[0] >= 0:
        return low
    if slope_and_curvature(high)[0] <= 0:
        return high
    b = 1.0
    for _ in range(STEPS):
        slope, curvature = slope_and_curvature(b)
        low, high = (b, high) if slope < 0 else (low, b)
        step = slope / curvature if curvature > 0 else np.inf
        following = b - step if low < b - step < high else (low + high) / 2
        if abs(following - b) <= 1e-9 * b:
            break
        b = following
    return b


def _rows(z: np.ndarray) -> int:
    return max(1, BLOCK // z.shape[1])
