"""95 % intervals: Wilson's for a proportion, a seeded stratified bootstrap for everything else."""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
LOWER = 5.0  # by simulation: the truth is held in 94 to 98 of 100 samples where it is 0, and in more elsewhere
Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
RESAMPLES = 1000
CHUNK_CELLS = 4_000_000  # weights held at once: 32 MB


def wilson(successes: float, trials: float, z: float = Z) -> tuple[float, float] | tuple[None, None]:
    """Wilson's score interval for successes/trials; (None, None) without a trial. JASA 22 (1927)."""
    if trials <= 0:
        return None, None
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else float(max(0.0, centre - half))
    high = 1.0 if successes == trials else float(min(1.0, centre + half))
    return low, high


def f1_interval(hits: int, images: int, answers: int) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of a class's F1, from its true positives, its images and the answers that name it.

    F1 = 2J / (1 + J) for J = hits / (images + answers - hits), the share of right ones among the images that are of
    the class or called so: the ends of Wilson's interval of J, carried over. (None, None) without such an image.
    """
    low, high = wilson(hits, images + answers - hits)
    if low is None or high is None:
        return None, None
    return 2 * low / (1 + low), 2 * high / (1 + high)


def resamples(labels: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Stratified bootstrap resamples as weights: chunks (b, n) float64 of how often each image is drawn.

    Within each class as many images are drawn as it has, with replacement, so every row sums to n and every
    class keeps its support. `labels` int64 (n,). Chunks keep the memory bounded; the draws depend on (seed,
    n, labels) alone.
    """
    rng = np.random.default_rng([seed, 0xB007])
    n = len(labels)
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if n else []
    size = max(1, min(count, CHUNK_CELLS // max(1, n)))
    for start in range(0, count, size):
        rows = min(size, count - start)
        weights = np.zeros((rows, n))
        for places in members:
            drawn = rng.integers(0, len(places), (rows, len(places)))
            drawn += np.arange(rows)[:, None] * len(places)
            counts = np.bincount(drawn.ravel(), minlength=rows * len(places))
            weights[:, places] = counts.reshape(rows, len(places))
        yield weights


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float] | tuple[None, None]:
    """The central `level` of bootstrap values (b,); (None, None) when one of them is no number."""
    if len(values) == 0 or not np.isfinite(values).all():
        return None, None
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def without_bias(values: np.ndarray, score: float, level: float = LEVEL) -> tuple[float, float] | tuple[None, None]:
    """The interval of a `score` in 0..1 that noise can only raise, such as ECE, from its bootstrap values (b,).

    The mean of the values less the score is the bootstrap's estimate of the bias (B. Efron and R. Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 10): what a resample adds to the sample's score. Both ends lose it, so
    that the score lies between them. The lower end loses it LOWER times: what the sample has added to the truth is
    about as much where the score is far from 0, but 1 / (sqrt(2) - 1) times as much where all of it is noise, since a
    resample has twice the variance of the sample; and it varies.
    """
    low, high = percentile_interval(values, level)
    if low is None or high is None or not np.isfinite(score):
        return None, None
    bias = max(0.0, float(values.mean()) - score)
    return max(0.0, min(score, low - LOWER * bias)), min(1.0, max(score, high - bias))


def can_vary(labels: np.ndarray) -> bool:
    """Whether a stratified resample can differ from the sample: some class has at least two images."""
    return len(labels) > 0 and int(np.bincount(labels).max()) > 1
