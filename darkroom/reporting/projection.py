"""Map a few hundred features to two dimensions: exact t-SNE, L. van der Maaten and G. Hinton, JMLR 9 (2008)."""

import numpy as np

MOST = 500  # images: the cost grows with their square
PERPLEXITY = 30.0
STEPS = 400
EARLY = 100  # steps that exaggerate the attraction


def project(features: np.ndarray) -> np.ndarray:
    """Map features (n, D) to points (n, 2) float32, centred: similar images lie together.

    Distances between groups mean little. It starts from the two principal components, so that it needs no seed.
    """
    n = len(features)
    spread = features.astype(np.float64) - (features.mean(axis=0) if n else 0)
    if n < 4 or not spread.any():
        return np.zeros((n, 2), np.float32)
    # The principal components by the (n, n) matrix of inner products: D is often larger than n.
    squares, left = np.linalg.eigh(spread @ spread.T)
    left, values = left[:, ::-1], np.sqrt(np.maximum(squares[::-1], 0))
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
    scores = left * values * signs
    start = scores[:, :2] * (1e-2 / max(scores[:, 0].std(), 1e-12))
    return _descend(_affinities(scores[:, :50], min(PERPLEXITY, (n - 1) / 3)), start).astype(np.float32)


def _affinities(points: np.ndarray, perplexity: float) -> np.ndarray:
    """Return symmetric neighbour probabilities (n, n) that sum to 1, each row's entropy log(perplexity)."""
    norms = (points * points).sum(axis=1)
    distance = np.maximum(norms[:, None] + norms - 2 * points @ points.T, 0)
    np.fill_diagonal(distance, np.inf)
    distance -= distance.min(axis=1, keepdims=True)
    low, high = np.zeros(len(points)), np.full(len(points), np.inf)
    beta = 1 / np.maximum(np.median(distance, axis=1), 1e-12)
    finite = np.where(np.isfinite(distance), distance, 0)
    for _ in range(50):
        weight = np.exp(-distance * beta[:, None])
        total = weight.sum(axis=1)
        entropy = np.log(total) + beta * (weight * finite).sum(axis=1) / total
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, beta, low), np.where(wide, high, beta)
        beta = np.where(np.isinf(high), np.minimum(beta * 2, 1e12), (low + np.where(np.isinf(high), 0, high)) / 2)
    weight = np.exp(-distance * beta[:, None])
    weight /= weight.sum(axis=1, keepdims=True)
    return (weight + weight.T) / (2 * len(points))


def _descend(target: np.ndarray, start: np.ndarray) -> np.ndarray:
    n = len(start)
    target = target.astype(np.float32)
    y = start.astype(np.float32)
    velocity, gain = np.zeros_like(y), np.ones_like(y)
    rate = max(n / 12 / 4, 50.0)
    for step in range(STEPS):
        early = step < EARLY
        norms = (y * y).sum(axis=1)
        near = norms[:, None] + norms
        near -= 2 * y @ y.T
        near += 1
        np.reciprocal(near, out=near)
        np.fill_diagonal(near, 0)
        pull = target * (12.0 if early else 1.0)
        pull -= near / near.sum()
        pull *= near
        slope = 4 * (pull.sum(axis=1, keepdims=True) * y - pull @ y)
        gain = np.clip(np.where(np.sign(slope) == np.sign(velocity), gain * 0.8, gain + 0.2), 0.01, None)
        velocity = (0.5 if early else 0.8) * velocity - rate * gain * slope
        y = y + velocity
        y -= y.mean(axis=0)
    return y
