"""What a recipe is worth: accuracy, or its difference between two recipes, over test images and training seeds.

Another seed gives another classifier, and other images another accuracy; a statement about a recipe must survive both
(X. Bouthillier et al., MLSys 2021). Images are shared by all seeds and seeds by all images, so that the variance of the
mean is that over images plus that over seeds.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from darkroom.metrics.intervals import FEWEST_DRAWS, LEVEL, freedom_of, share_interval, variances


@dataclass(frozen=True)
class OverSeeds:
    """`mean` over images and seeds, with its 95 % interval (None where one seed, or too few images, say nothing).

    `by_seed` float64 (s,): the mean over images of each seed; `spread`: their standard deviation, None of one seed;
    `from_seeds`: the share of the variance of `mean` that is due to seeds.
    """

    mean: float
    low: float | None
    high: float | None
    by_seed: np.ndarray
    spread: float | None
    from_seeds: float | None


def over_seeds(values: np.ndarray, group: np.ndarray | None = None, difference: bool = False) -> OverSeeds:
    """Summarise `values` (s, n): of each seed and image, 0 or 1 for right, or the `difference` of two recipes, -1 to 1.

    Seeds must be the same ones for both recipes of a difference. `group` int64 (n,) of each image, where some belong
    together. Each of the two variances counts with the quantile of its own degrees of freedom, which holds also for
    two seeds (W. Cochran and G. Cox, Experimental Designs, 1957, chapter 4).
    """
    seeds, n = values.shape
    by_seed, by_image = values.mean(axis=1), values.mean(axis=0)
    mean = float(by_seed.mean())
    draws = n if group is None else freedom_of(np.bincount(group))
    if seeds < 2 or draws < (2 if group is None else FEWEST_DRAWS):
        return OverSeeds(mean, None, None, by_seed, None, None)
    # One image more that differs: where none does, the recipes need not be the same (Agresti and Min, 2005).
    rest = by_image - mean
    squares = float((rest**2).sum()) if group is None else max(variances(rest, group))
    of_images = (squares + difference) / n**2 * draws / (draws - 1)
    of_seeds = float(by_seed.var(ddof=1)) / seeds
    both = of_images + of_seeds
    spread = float(by_seed.std(ddof=1))
    if not both:
        low, high = share_interval(mean * n, n)
        return OverSeeds(mean, low, high, by_seed, spread, None)
    half = sqrt(of_images * _quantile(draws - 1) ** 2 + of_seeds * _quantile(seeds - 1) ** 2)
    if difference:
        low, high = mean - half, mean + half
    else:  # a share, of as many draws as would have this half width at large
        z = half / sqrt(both)
        worth = mean * (1 - mean) / both
        low, high = share_interval(mean * worth, worth, z)
    return OverSeeds(mean, low, high, by_seed, spread, of_seeds / both)


def _quantile(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + LEVEL / 2, freedom))
