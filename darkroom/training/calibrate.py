"""Temperature scaling: one number that makes confidence mean what it says. Guo et al., ICML 2017."""

import numpy as np

COLDEST, HOTTEST = 0.05, 20.0


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities (n, K) float64 of logits (n, K) divided by the temperature; each row sums to 1."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimises the log loss of logits (n, K) against labels (n,), within 0.05..20.

    The loss is convex in b = 1/T, so its slope, mean(sum_k p_k z_k - target·z), is bisected. The targets are
    smoothed by 1/(n+2), as J. Platt did in 1999: without it, a validation set without an error would ask for
    certainty. Without usable logits (none, one class only, NaN) the temperature is 1.
    """
    usable = np.isfinite(logits).all(axis=1)
    z, y = logits[usable].astype(np.float64), labels[usable]
    if len(z) == 0 or z.shape[1] < 2:
        return 1.0
    z -= z.mean(axis=1, keepdims=True)
    smooth = 1.0 / (len(z) + 2)
    aim = (1 - smooth) * z[np.arange(len(z)), y]  # the other share of the target, spread evenly, meets a mean of zero

    def slope(b: float) -> float:
        return float(np.mean(np.einsum("nk,nk->n", softmax(z, 1 / b), z) - aim))

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0:
        return HOTTEST if np.ptp(z) > 0 else 1.0
    if slope(high) <= 0:
        return COLDEST
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(f"{2 / (low + high):.6g}")
