"""Test whether two classifiers differ in accuracy on the same images, and two recipes over images and seeds.

Another seed gives another classifier, and other images another accuracy; a statement about a recipe must survive both
(X. Bouthillier et al., MLSys 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np

from darkroom.metrics.intervals import (
    FEWEST_DRAWS,
    FEWEST_GROUPS,
    LEVEL,
    Interval,
    Z,
    design_effect,
    draws_of,
    freedom_of,
    share_interval,
    variances,
)

ALPHA = 0.05
POWER = 0.8


def mcnemar(fixed: int, broken: int) -> float:
    """Return the exact two-sided p-value of McNemar's test: binomial(fixed + broken, 1/2). Psychometrika 12 (1947).

    `fixed`: images that only the new classifier gets right; `broken`: only the old one.
    """
    flips, fewer = fixed + broken, min(fixed, broken)
    if fixed == broken:
        return 1.0
    # log C(flips, i) for i = 0..fewer, by C(m, i) = C(m, i-1) · (m - i + 1) / i
    i = np.arange(1, fewer + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(flips - i + 1) - np.log(i))])
    return float(min(1.0, 2 * np.exp(logs - flips * np.log(2)).sum()))


def exact_test(change: np.ndarray, group: np.ndarray | None) -> float:
    """Return the exact two-sided p-value of a difference in accuracy: McNemar's, or that of groups that flip together.

    `change` int64 (n,): 1 for an image that only the new classifier gets right, -1 for one that only the old one does,
    else 0. `group` int64 (n,): of images that belong together, or None.
    """
    if group is not None:
        return sign_flip_test(gains_of(change, group))
    return mcnemar(int((change > 0).sum()), int((change < 0).sum()))


def accuracy_interval(change: np.ndarray, group: np.ndarray | None) -> Interval:
    """Return the 95 % interval of the difference in accuracy, new minus old; arguments as for `exact_test`."""
    if group is not None:
        return clustered_interval(change, group)
    return difference_interval(int((change > 0).sum()), int((change < 0).sum()), len(change))


def difference_interval(fixed: int, broken: int, n: int) -> Interval:
    """Return the 95 % interval of the difference in accuracy, new minus old, of n images answered by both.

    Where the exact test finds no difference, the interval is widened to hold zero: the two never contradict.
    """
    if n == 0:
        return None, None
    low, high = _wald(fixed, broken, n, Z)
    return (min(low, 0.0), max(high, 0.0)) if mcnemar(fixed, broken) > ALPHA else (low, high)


def _wald(fixed: int, broken: int, n: int, z: float, unseen: float = 1.0) -> tuple[float, float]:
    """Return Wald's interval of (fixed - broken) / n with half an image added to each of the four cells.

    A. Agresti and Y. Min, Statistics in Medicine 24 (2005). `unseen`: how many flips the variance has in place of
    their one: that no whole group flipped does not say that none ever does.
    """
    total = n + 2
    centre = (fixed - broken) / total
    half = z * sqrt(max(0.0, fixed + broken + unseen - (fixed - broken) ** 2 / total)) / total
    return max(-1.0, centre - half), min(1.0, centre + half)


def largest_loss(lost: float, won: float, n: float) -> float:
    """Return the upper end of the 95 % interval of (lost - won) / n, the loss in accuracy of a second classifier.

    `lost`: images that only the first one gets right; `won`: only the second. The score interval of T. Tango
    (Statistics in Medicine 17, 1998), which, unlike Wald's, holds where hardly an image flips, as between a model and
    its 8-bit form. It calls a loss of a margin less than the margin in fewer than 3 of 100 cases
    (benchmarks/quantized.py).
    """
    low, high = (lost - won) / n, 1.0
    for _ in range(50):
        loss = (low + high) / 2
        b = (2 * n - lost + won) * loss - lost - won
        only_second = (sqrt(b * b + 8 * n * won * loss * (1 - loss)) - b) / (4 * n)
        variance = n * (2 * only_second + loss * (1 - loss))
        low, high = (low, loss) if lost - won - n * loss < -Z * sqrt(variance) else (loss, high)
    return high


def sign_flip_test(gains: np.ndarray) -> float:
    """Return the exact two-sided p-value of the sum of `gains` int64 (g,) when each one's sign is a fair coin's.

    A group's gain is its images that only the new classifier gets right less those that only the old one does. Images
    of one group flip together, so each group has one coin; with groups of one image this is `mcnemar`. The distribution
    is a convolution of whole numbers, so nothing is drawn. E. Pitman, Supplement to JRSS 4 (1937).
    """
    sizes = np.abs(gains[gains != 0])
    total, seen = int(sizes.sum()), abs(int(gains.sum()))
    if seen == 0:
        return 1.0
    share = np.zeros(2 * total + 1)  # of each sum from -total to total
    share[total] = 1.0
    reach = 0
    for size in sizes.tolist():
        low, high = total - reach, total + reach + 1
        before = share[low:high] / 2
        reach += size
        share[low:high] = 0.0
        share[low - size : high - size] += before
        share[low + size : high + size] += before
    return float(min(1.0, 2 * share[total + seen :].sum()))


def clustered_interval(change: np.ndarray, group: np.ndarray) -> Interval:
    """Return `difference_interval` for images in groups: wider by the design effect and Student's t.

    It holds zero just where `sign_flip_test` finds no difference. (None, None) for fewer than two groups.
    """
    gains, sizes = gains_of(change, group), np.bincount(group)
    fixed, broken = int((change > 0).sum()), int((change < 0).sum())
    if len(gains) < 2:
        return None, None
    from scipy.stats import t

    quantile = float(t.ppf(1 - ALPHA / 2, freedom_of(sizes) - 1))
    wider = sqrt(design_effect(change, group)) * quantile
    low, high = _wald(fixed, broken, len(change), wider, max(1.0, len(change) / draws_of(sizes) / 2))
    if sign_flip_test(gains) > ALPHA:
        return min(low, 0.0), max(high, 0.0)
    least = 0.5 / (len(change) + 2)  # half an image: the exact test rules out 0, which few or unequal groups may not
    return (max(low, least), high) if fixed > broken else (low, min(high, -least))


def gains_of(change: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the images that each group gains less those that it loses: int64 (g,); arguments as for `exact_test`."""
    size = int(group.max(initial=-1)) + 1
    return np.bincount(group[change > 0], minlength=size) - np.bincount(group[change < 0], minlength=size)


def images_needed(difference: float, discordant: float) -> int | None:
    """Return how many test images detect such a difference in accuracy with a power of 80 %; None for one of 0.

    `discordant`: the share of images that exactly one of the two answers right, at least |difference|. R. Connor,
    Biometrics 43 (1987), with the continuity correction that the exact test needs.
    """
    d = abs(difference)
    if d == 0:
        return None
    share = max(discordant, d)
    z = NormalDist().inv_cdf(POWER)
    plain = (Z * sqrt(share) + z * sqrt(max(0.0, share - d * d))) ** 2 / (d * d)
    return ceil(plain / 4 * (1 + sqrt(1 + 2 / (plain * d))) ** 2)


def detectable(n: int, discordant: float) -> float:
    """Return the smallest difference in accuracy that n images detect with a power of 80 %; see `images_needed`."""
    low, high = 1e-9, 1.0
    if n < FEWEST_GROUPS:
        return 1.0
    for _ in range(50):
        middle = (low + high) / 2
        needed = images_needed(middle, discordant)
        low, high = (middle, high) if needed is None or needed > n else (low, middle)
    return high


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number, in their order.

    S. Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(order), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(order) - rank)))
        adjusted[index] = highest
    return adjusted


@dataclass(frozen=True)
class OverSeeds:
    """The `mean` over images and seeds, with its 95 % interval (None with one seed, or too few images).

    `by_seed` float64 (s,): the mean over images of each seed; `spread`: their standard deviation, None of one seed;
    `from_seeds`: the share of the variance of `mean` that is due to seeds.
    """

    mean: float
    low: float | None
    high: float | None
    by_seed: np.ndarray
    spread: float | None
    from_seeds: float | None


def over_seeds(
    values: np.ndarray, group: np.ndarray | None = None, difference: bool = False, widen: float = 1.0
) -> OverSeeds:
    """Summarise `values` (s, n): of each seed and image, 0 or 1 for right, or the `difference` of two recipes, -1 to 1.

    Both recipes of a difference must have the same seeds. `group` int64 (n,): of images that belong together. `widen`:
    a factor of the interval over images, intervals.OUT_OF_FOLD for the answers of a cross-validation. All seeds answer
    the same images, so the variance of the mean is that over images plus that over seeds; each counts with the quantile
    of its own degrees of freedom, which holds even for two seeds (W. Cochran and G. Cox, Experimental Designs, 1957,
    chapter 4).
    """
    seeds, n = values.shape
    by_seed, by_image = values.mean(axis=1), values.mean(axis=0)
    mean = float(by_seed.mean())
    draws = n if group is None else freedom_of(np.bincount(group))
    if seeds < 2 or draws < (2 if group is None else FEWEST_DRAWS):
        return OverSeeds(mean, None, None, by_seed, None, None)
    # Counts one more image that differs: where none does, the recipes may still differ (Agresti and Min, 2005).
    rest = by_image - mean
    squares = float((rest**2).sum()) if group is None else max(variances(rest, group))
    of_images = (squares + difference) / n**2 * draws / (draws - 1) * widen**2
    of_seeds = float(by_seed.var(ddof=1)) / seeds
    both = of_images + of_seeds
    spread = float(by_seed.std(ddof=1))
    if not both:
        low, high = share_interval(mean * n / widen**2, n / widen**2)
        return OverSeeds(mean, low, high, by_seed, spread, None)
    half = sqrt(of_images * _quantile(draws - 1) ** 2 + of_seeds * _quantile(seeds - 1) ** 2)
    if difference:
        low, high = max(-1.0, mean - half), min(1.0, mean + half)
    else:  # a share, of as many draws as have this half width for large numbers
        z = half / sqrt(both)
        worth = mean * (1 - mean) / both
        low, high = share_interval(mean * worth, worth, z)
    return OverSeeds(mean, low, high, by_seed, spread, of_seeds / both)


def _quantile(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + LEVEL / 2, freedom))
