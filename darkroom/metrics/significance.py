"""Is a difference between two classifiers on the same images real? Exact tests, paired intervals, needed sizes."""

from collections.abc import Sequence
from itertools import chain
from math import ceil, inf, sqrt
from statistics import NormalDist

import numpy as np

from darkroom.metrics import registry
from darkroom.metrics.influence import paired_influence
from darkroom.metrics.intervals import (
    FEWEST,
    FEWEST_DRAWS,
    FEWEST_ERRORS,
    FEWEST_GROUPS,
    FEWEST_OF_A_CLASS,
    Interval,
    Z,
    design_effect,
    erring_draws,
    freedom_of,
    images_of_a_class,
    mean_interval,
    redrawn,
    score_interval,
    student,
)
from darkroom.metrics.registry import Interval as Way
from darkroom.metrics.scores import Scorer

ALPHA = 0.05
POWER = 0.8
RESAMPLES = 400  # of areas and calibration errors, whose standard deviation is wanted


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


def difference_interval(fixed: int, broken: int, n: int) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of the difference in accuracy, new minus old, of n images answered by both.

    Wald's interval with half an image added to each of the four cells (A. Agresti and Y. Min, Statistics in Medicine
    24, 2005). Where the exact test sees no difference, the interval is widened to hold zero: the two never contradict.
    """
    if n == 0:
        return None, None
    b, c, total = broken + 0.5, fixed + 0.5, n + 2
    centre = (c - b) / total
    half = Z * sqrt(max(0.0, b + c - (c - b) ** 2 / total)) / total
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    if mcnemar(fixed, broken) > ALPHA:
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high


def largest_loss(lost: float, won: float, n: float, z: float = Z) -> float:
    """Return the upper end of the 95 % interval of (lost - won) / n, the loss in accuracy of a second classifier.

    `lost`: images that only the first one gets right; `won`: only the second. The score interval of T. Tango
    (Statistics in Medicine 17, 1998): it holds where hardly an image flips, as between a model and its 8-bit twin, and
    Wald's does not. A classifier that loses a margin is below it in fewer than 3 of 100 cases: benchmarks/quantized.py.
    """
    low, high = (lost - won) / n, 1.0
    for _ in range(50):
        loss = (low + high) / 2
        b = (2 * n - lost + won) * loss - lost - won
        only_second = (sqrt(b * b + 8 * n * won * loss * (1 - loss)) - b) / (4 * n)
        variance = n * (2 * only_second + loss * (1 - loss))
        low, high = (low, loss) if lost - won - n * loss < -z * sqrt(variance) else (loss, high)
    return high


def sign_flip_test(gains: np.ndarray) -> float:
    """Return the exact two-sided p-value of the sum of `gains` int64 (g,) when each one's sign is a fair coin's.

    A group's gain is its images that only the new classifier gets right less those that only the old one does. Images
    of one group flip together, so the coin is the group's; with groups of one image this is `mcnemar`. The
    distribution is a convolution of whole numbers, hence no draw. E. Pitman, Supplement to JRSS 4 (1937).
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


def clustered_interval(change: np.ndarray, group: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Return `difference_interval` for images in groups: wider by the design effect and Student's t.

    `change` int64 (n,): 1 for an image that only the new classifier gets right, -1 for one that only the old one does,
    else 0. It holds zero just where `sign_flip_test` sees no difference. (None, None) for fewer than two groups.
    """
    gains, sizes = gains_of(change, group), np.bincount(group)
    fixed, broken = int((change > 0).sum()), int((change < 0).sum())
    if len(gains) < 2:
        return None, None
    from scipy.stats import t

    total = int(sizes.sum()) + 2
    centre = (fixed - broken) / total
    variance = max(0.0, fixed + broken + 1 - (fixed - broken) ** 2 / total)
    wider = sqrt(design_effect(change, group)) * float(t.ppf(1 - ALPHA / 2, freedom_of(sizes) - 1))
    half = wider * sqrt(variance) / total
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    if sign_flip_test(gains) > ALPHA:
        return min(low, 0.0), max(high, 0.0)
    least = 0.5 / total  # half an image: the exact test has ruled out 0, which few or unequal groups leave inside
    return (max(low, least), high) if fixed > broken else (low, min(high, -least))


def gains_of(change: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the images that each group gains less those that it loses: int64 (g,), of `clustered_interval`'s input."""
    size = int(group.max(initial=-1)) + 1
    return np.bincount(group[change > 0], minlength=size) - np.bincount(group[change < 0], minlength=size)


def images_needed(difference: float, discordant: float) -> int | None:
    """Return how many test images show such a difference in accuracy with a power of 80 %; None for a difference of 0.

    `discordant`: the share of images that just one of the two answers right, at least |difference|. R. Connor,
    Biometrics 43 (1987), with the continuity correction that the exact test asks for.
    """
    d = abs(difference)
    if d == 0:
        return None
    share = max(discordant, d)
    z = NormalDist().inv_cdf(POWER)
    plain = (Z * sqrt(share) + z * sqrt(max(0.0, share - d * d))) ** 2 / (d * d)
    return ceil(plain / 4 * (1 + sqrt(1 + 2 / (plain * d))) ** 2)


def detectable(n: int, discordant: float) -> float:
    """Return the smallest difference in accuracy that n images show with a power of 80 %, where so many are
    discordant."""
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


def paired_intervals(
    old: Scorer,
    new: Scorer,
    names: Sequence[str],
    seed: int,
    count: int = RESAMPLES,
    group: np.ndarray | None = None,
) -> dict[str, Interval]:
    """Return the 95 % interval of new minus old of each score; (None, None) where the images are too few for one.

    Both classifiers have answered the same images; `group` int64 (n,) says which of these belong together. A share goes
    by the images that only one of the two gets right, a score of counts by the influence of each image, a mean by the
    difference of each image. An area or a calibration error goes by the standard deviation of `count` resamples, with
    Student's t of as many draws as there are wrong answers. Percentiles of resamples know nothing of flips that did not
    occur: where two classifiers answer nearly alike, they held the difference of macro F1 in 1 to 70 of 100 samples.
    """
    n = len(old.labels)
    change = new.correct.astype(np.int64) - old.correct
    effect = 1.0 if group is None else design_effect(change, group)
    draws = float(n) if group is None else freedom_of(np.bincount(group))
    support = np.bincount(old.labels, minlength=old.probabilities.shape[1])
    of_a_class = images_of_a_class(support[support > 0]) / effect
    few = draws < (FEWEST if group is None else FEWEST_DRAWS)
    known = inf if group is None else erring_draws(~old.correct | ~new.correct, group)
    errors = min(_errors(scorer, group) for scorer in (old, new))
    drawn = _drawn_differences(old, new, names, seed, count, group) if not few and errors >= FEWEST_ERRORS else {}
    once = np.ones((1, n))
    found: dict[str, Interval] = {}
    for name in names:
        metric = registry.metric(name)
        found[name] = (None, None)
        if few or (metric.class_mean and (of_a_class < FEWEST_OF_A_CLASS or len(support[support > 0]) < 2)):
            continue
        if metric.interval is Way.SHARE:
            found[name] = _share_difference(old, new, name, group)
        elif metric.interval is Way.COUNTS:
            moved = paired_influence(name, old, new)
            seen = float(new.plain(once)[name][0] - old.plain(once)[name][0])
            found[name] = score_interval(seen, moved, group, effect, of_a_class / max(1.0, of_a_class - 1), known)
        elif metric.interval is Way.MEAN and old.finite and new.finite:
            one, two = ((s.losses if name == "log_loss" else s.brier_terms) for s in (old, new))
            found[name] = mean_interval(two - one, group, skewed=False, draws=known)
        elif name in drawn and np.isfinite(drawn[name]).all():
            seen, half = drawn[name][0], student(min(errors, draws) - 1) * float(drawn[name][1:].std(ddof=1))
            found[name] = (max(-1.0, seen - half), min(1.0, seen + half)) if half else (None, None)
    return found


def _errors(scorer: Scorer, group: np.ndarray | None) -> int:
    """Return the number of wrong answers, or of groups with any."""
    return int((~scorer.correct).sum()) if group is None else len(np.unique(group[~scorer.correct]))


def _share_difference(old: Scorer, new: Scorer, name: str, group: np.ndarray | None) -> Interval:
    """Return the interval of the difference of two shares of the same images: of the answers, or of the best five."""
    one, two = ((scorer.top5 if name == "top5_accuracy" else scorer.correct) for scorer in (old, new))
    if group is not None:
        return clustered_interval(two.astype(np.int64) - one, group)
    return difference_interval(int((two & ~one).sum()), int((one & ~two).sum()), len(one))


def _drawn_differences(
    old: Scorer, new: Scorer, names: Sequence[str], seed: int, count: int, group: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Return new minus old (1 + count,) of the areas and calibration errors among `names`, as seen and resampled."""
    chosen = [name for name in names if registry.metric(name).interval in (Way.AREA, Way.CALIBRATION)]
    ranked = any(registry.metric(name).ranked for name in chosen)
    n = len(old.labels)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in chosen}
    if not (chosen and old.finite and new.finite):
        return {}
    for weights in chain([np.ones((1, n))], redrawn(n, group, count, seed)):
        one, two = ({"ece": scorer.ece(weights)} | (scorer.ranked(weights) if ranked else {}) for scorer in (old, new))
        for name in chosen:
            parts[name].append(two[name] - one[name])
    return {name: np.concatenate(values) for name, values in parts.items()}
