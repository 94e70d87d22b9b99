"""Compute 95 % intervals of a proportion, a mean, a score of counts, an area and a calibration error.

Each is the one of several candidates that covered the truth most reliably in simulations of known classifiers
(benchmarks/coverage.py). An interval that does not exist, or would not hold, is (None, None).

`group` int64 (n,) names the group of each image; images of one group, such as frames of one video, are one draw rather
than several. None: all images are independent draws.
"""

from collections.abc import Iterator
from math import inf, sqrt
from statistics import NormalDist

import numpy as np

from darkroom.core.exactmath import exp, log, total
from darkroom.metrics.influence import PRIOR, Influence
from darkroom.metrics.scores import CHUNK_CELLS

Interval = tuple[float, float] | tuple[None, None]

LEVEL = 0.95
LOWER = 5.0  # times the bias; in simulations the truth is covered in 94 to 98 of 100 samples if 0, else in more
Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
FEW_TRIALS = 6.0  # over their number squared: how much wider z is, so that shares of few trials are held as well
NO_WIDTH = 1e-9  # of an interval, up to which it is rounding
FEWEST = 5  # draws below which a spread cannot be estimated
FEWEST_DRAWS = 15  # in groups, likewise
FEWEST_GROUPS = 6  # that differ: a sign test of fewer cannot reach 5 %
UNSEEN = 0.25  # of a group: by simulation the least with which shares are held in 93 of 100 samples
FEWEST_ERRORS = 3  # for an area under a curve, which hardly varies between resamples with fewer
FEWEST_OF_A_CLASS = 8  # images of each class on (harmonic) average, below which no interval of a class mean held
RESAMPLES = 1000
# Answers of a cross-validation depend on each other, since its training sets overlap (S. Bates, T. Hastie and R.
# Tibshirani, JASA 119, 2024). With intervals wider by this factor, simulations (benchmarks/coverage.py) hold the mean
# score of the folds' models in 93 of 100 at least; without it, in 75.
OUT_OF_FOLD = 1.4


def share_interval(successes: float, trials: float, z: float = Z) -> Interval:
    """Return the interval of the share successes/trials; (None, None) without a trial.

    It has Wilson's centre and is a little wider: A. Agresti and B. Coull, The American Statistician 52 (1998). Wilson's
    own holds shares near 0 and 1 in as few as 84 of 100 samples, theirs shares of 2 trials in 82, of 12 or 16 in 92;
    with the wider z of FEW_TRIALS no share is held in fewer than 93, of however many trials.
    """
    if trials <= 0:
        return None, None
    z *= 1 + FEW_TRIALS / (trials * trials)
    more = trials + z * z
    centre = (successes + z * z / 2) / more
    half = z * sqrt(centre * (1 - centre) / more)
    return max(0.0, centre - half), min(1.0, centre + half)


def f1_interval(hits: float, images: float, answers: float, z: float = Z) -> Interval:
    """Return the interval of a class's F1, from its true positives, its images and the answers that name it.

    F1 = 2J / (1 + J) for J = hits / (images + answers - hits), the share of right ones among the images that are of
    the class or called so: the ends of its interval, carried over. (None, None) without such an image.
    """
    low, high = share_interval(hits, images + answers - hits, z)
    if low is None or high is None:
        return None, None
    return 2 * low / (1 + low), 2 * high / (1 + high)


def student(freedom: float) -> float:
    """Return Student's t at the level of the normal quantile Z: Cornish and Fisher's series, 1 % short at 3 degrees.

    Importing scipy.stats takes longer than the rest of evaluate.
    """
    f, z, s = freedom, Z, Z * Z
    first = z * (s + 1) / 4
    second = z * (5 * s * s + 16 * s + 3) / 96
    third = z * (3 * s * s * s + 19 * s * s + 17 * s - 15) / 384
    return z + first / f + second / (f * f) + third / (f * f * f)


def design_effect(values: np.ndarray, group: np.ndarray) -> float:
    """Return the design effect: the variance of the mean of `values` over that of independent images, >= 1.

    `values` (n,): 1 for each wrong answer, or 1 for an image gained and -1 for one lost, else 0; `group` int64 (n,).
    Where the groups that have any are worth fewer than FEWEST_GROUPS (`freedom_of`), or all groups fewer than
    FEWEST_DRAWS draws, the images of a group are assumed to err as one. UNSEEN of a group that errs as one is added to
    what was seen: that all errors stand alone may be chance. It is one of the large groups, and more of it where few
    large ones stand among many small ones, whose errors hide that none of the large ones erred. L. Kish, Survey
    Sampling (1965).
    """
    values, sizes = values.astype(np.float64), np.bincount(group)
    draws, freedom = draws_of(sizes), freedom_of(sizes)
    as_one = len(values) / draws
    erring = sizes[np.unique(group[values != 0])]
    if freedom_of(erring) < FEWEST_GROUPS or draws < FEWEST_DRAWS:
        return as_one
    alone, together = variances(values - float(total(values)) / len(values), group)
    ratio = draws / freedom  # 1 for groups of equal size; as_one² times it is the square of a large group's size
    unseen = UNSEEN * as_one * as_one * ratio * sqrt(ratio)
    alone, together = alone + UNSEEN * as_one, max(alone, together) + unseen
    return min(as_one, together / alone)


def erring(wrong: np.ndarray, group: np.ndarray | None) -> int:
    """Return the number of wrong answers, bool (n,), or of the groups with any."""
    return int(wrong.sum()) if group is None else len(np.unique(group[wrong]))


def erring_draws(wrong: np.ndarray, group: np.ndarray) -> float:
    """Return how many draws the groups int64 (n,) with a `wrong` (n,) answer are worth, plus PRIOR.

    Where a few groups hold all errors, only these few show how far a score may be from the truth.
    """
    return PRIOR + freedom_of(np.bincount(group)[np.unique(group[wrong])])


def draws_of(sizes: np.ndarray) -> float:
    """Return how many equal groups are worth as much as groups of these `sizes` int64 (g,): n² / sum of squares.

    One that is half of all images leaves fewer than 4, however many there are.
    """
    images = int(sizes.sum())
    return images * images / max(1, int((sizes * sizes).sum()))


def freedom_of(sizes: np.ndarray) -> float:
    """Return the degrees of freedom, plus one, of a variance estimated from groups of these `sizes` int64 (g,).

    F. Satterthwaite, Biometrics Bulletin 2 (1946), for groups that err as one: the largest groups decide. For groups of
    equal size it is their number.
    """
    squares = sizes.astype(np.float64) ** 2
    return float(total(squares)) ** 2 / max(1.0, float(total(squares * squares)))


def variances(rest: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Return the variance of the sum of `rest` (n,), distances from the mean: for independent images, and for groups.

    For groups it is the larger of two estimates. One adds up the squared sums of the groups, corrected for the pull of
    each group on the mean (R. Bell and D. McCaffrey, Survey Methodology 28, 2002); it rests on few large groups. The
    other estimates one correlation of two images of a group from all groups (A. Donner and J. Koval, Biometrics 36,
    1980), and applies it to the large ones.
    """
    sizes, n = np.bincount(group), len(rest)
    sums, squares = np.bincount(group, rest), np.bincount(group, rest * rest)
    alone = float(total(squares))
    each = sums * sums / np.maximum(1 - sizes / n, 0.5 / n)  # bounded where one group is all images
    pairs = sizes > 1
    products = (sums[pairs] ** 2 - squares[pairs]) / sizes[pairs]  # (size - 1) times the mean product of a pair
    correlation = float(total(products)) / max(1, int((sizes[pairs] - 1).sum())) / (alone / n) if alone else 0.0
    return alone, max(float(total(each)), alone * (1 + correlation * (n / draws_of(sizes) - 1)))


def score_interval(
    score: float,
    found: Influence,
    group: np.ndarray | None = None,
    effect: float = 1.0,
    inflate: float = 1.0,
    draws: float = inf,
) -> Interval:
    """Return the interval of a score of counts, up to 1, from the influence of each image.

    The variance is at least `effect` times that of independent images; `inflate` corrects it for small classes. `draws`
    bounds its degrees of freedom (`erring_draws`).
    """
    alone, together, z = float(total(found.images * found.images)) * effect, 0.0, Z
    if group is not None:
        freedom = freedom_of(np.bincount(group))
        if freedom < FEWEST_DRAWS:
            return None, None
        together, z = variances(found.images, group)[1], student(min(freedom, draws) - 1)
    elif len(found.images) < FEWEST:
        return None, None
    half = z * sqrt(max(alone, together) * inflate + found.prior * effect)
    return min(score, max(-1.0, found.value - half)), max(score, min(1.0, found.value + half))


def mean_interval(
    values: np.ndarray,
    group: np.ndarray | None = None,
    skewed: bool = True,
    draws: float = inf,
    effect: float = 1.0,
) -> Interval:
    """Return the interval of the mean of `values` (n,), such as losses, most of them small and some large.

    Student's t, corrected for skewness by a monotone cubic (P. Hall, JRSS B 54, 1992) where they are `skewed`; the
    differences of two classifiers' losses are not, and their estimated skewness is chance. `draws` and `effect` as in
    `score_interval`.
    """
    mean = float(total(values)) / max(1, len(values))
    rest, freedom, fewest = values - mean, float(len(values)), FEWEST
    square, cubes = float(total(rest * rest)) * freedom / max(1.0, freedom - 1), float(total(rest * rest * rest))
    if group is not None:
        # Few groups hardly show how their images vary together; the variance is at least that of their answers.
        sums = np.bincount(group, rest)
        square = max(square * effect, variances(rest, group)[1])
        cubes = max(cubes * effect * effect, float(total(sums * sums * sums)))
        freedom, fewest = freedom_of(np.bincount(group)), FEWEST_DRAWS
    if freedom < fewest or not 0 < square < np.inf:
        return None, None
    spread, z, skewness = (
        sqrt(square) / len(values),
        student(min(freedom, draws) - 1),
        skewed * cubes / sqrt(square) ** 3,
    )
    return mean - spread * _unskewed(z, skewness), mean - spread * _unskewed(-z, skewness)


def _unskewed(y: float, skewness: float) -> float:
    """Return the t whose Hall transform is y: y = t + s t^2 / 3 + s^2 t^3 / 27 + s / 6, s the skewness of the mean."""
    if abs(skewness) < 1e-6:
        return y
    cube = 1 + skewness * (y - skewness / 6)
    root = float(exp(log(abs(cube)) / 3)) if cube else 0.0
    return 3 / skewness * ((root if cube > 0 else -root) - 1)


def area_interval(score: float, drawn: np.ndarray, inflate: float = 1.0, z: float = Z) -> Interval:
    """Return the interval of an area in 0..1 from its resampled values (b,): normal on the logit scale, bias-corrected.

    Percentiles of the resamples are too narrow near 1, where such areas are.
    """
    if len(drawn) < 2 or not np.isfinite(drawn).all() or not np.isfinite(score):
        return None, None
    mean = float(total(drawn)) / len(drawn)
    centre = min(2 * score - mean, (1 + score) / 2)
    spread = sqrt(float(total((drawn - mean) ** 2)) / (len(drawn) - 1) * inflate)
    if not 0 < centre < 1 or spread == 0:
        return None, None
    logit, half = float(log(centre / (1 - centre))), z * spread / (centre * (1 - centre))
    ends = [1 / (1 + float(exp(-(logit + side * half)))) for side in (-1, 1)]
    return min(ends[0], score), max(ends[1], score)


def resamples(labels: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield stratified bootstrap resamples as weights: chunks (b, n) float64 of how often each image is drawn.

    Within each class as many images are drawn as it has, with replacement, so every row sums to n and every class keeps
    its size. `labels` int64 (n,). Chunks bound the memory; the draws depend on `seed` and `labels` alone.
    """
    rng = np.random.default_rng([seed, 0xB007])
    n = len(labels)
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if n else []
    size = max(1, min(count, CHUNK_CELLS // max(1, n)))
    for start in range(0, count, size):
        rows = min(size, count - start)
        weights = np.zeros((rows, n))
        for indices in members:
            drawn = rng.integers(0, len(indices), (rows, len(indices)))
            drawn += np.arange(rows)[:, None] * len(indices)
            counts = np.bincount(drawn.ravel(), minlength=rows * len(indices))
            weights[:, indices] = counts.reshape(rows, len(indices))
        yield weights


def redrawn(n: int, group: np.ndarray | None, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield bootstrap resamples of n images, or of their groups, as weights: chunks (b, n) float64.

    Not within classes: their sizes are chance as well, and intervals that ignore this are too narrow.
    """
    draws = n if group is None else int(group.max(initial=-1)) + 1
    for weights in resamples(np.zeros(draws, np.int64), count, seed):
        yield weights if group is None else weights[:, group]


def percentile_interval(values: np.ndarray) -> Interval:
    """Return the central LEVEL of bootstrap values (b,); (None, None) where one of them is not finite."""
    if len(values) == 0 or not np.isfinite(values).all():
        return None, None
    low, high = np.quantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def calibration_interval(score: float, drawn: np.ndarray, by_chance: np.ndarray) -> Interval:
    """Return the interval of a calibration error in 0..1, which noise can only raise.

    `drawn` (b,): its bootstrap values. Their mean less the score estimates the bias (B. Efron and R. Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 10), which is subtracted once from the upper end and LOWER times from
    the lower one, since a resample has twice the variance of the sample. `by_chance` (b,): its values if every
    confidence were right (J. Bröcker and L. Smith, Weather and Forecasting 22, 2007); a score within the lower 97.5 %
    of these is consistent with a true error of 0.
    """
    low, high = percentile_interval(drawn)
    if low is None or high is None or not np.isfinite(score):
        return None, None
    bias = max(0.0, float(total(drawn)) / len(drawn) - score)
    calibrated = score <= float(np.quantile(by_chance, 0.5 + LEVEL / 2))
    return 0.0 if calibrated else max(0.0, min(score, low - LOWER * bias)), min(1.0, max(score, high - bias))


def draws_of_a_class(labels: np.ndarray, classes: int, group: np.ndarray | None) -> float:
    """Return the harmonic mean over the classes of the draws of each, or 0 where a class has none.

    The variance of a mean over the classes is proportional to its inverse. `labels` int64 (n,) in 0..classes-1. Images
    of one `group` int64 (n,) are fewer draws, as `draws_of` counts them, whatever their answers: else there would be an
    interval just where the answers happen to make it too short.
    """
    images: np.ndarray = np.bincount(labels, minlength=classes).astype(np.float64)
    squares: np.ndarray = images
    if group is not None:
        groups = int(group.max(initial=-1)) + 1
        cells, counts = np.unique(labels * groups + group, return_counts=True)
        squares = np.bincount(cells // groups, (counts * counts).astype(np.float64), classes)
    return classes / float(total(squares / (images * images))) if classes and images.all() else 0.0


def inflation(draws: float) -> float:
    """Return the factor m / (m - 1) that corrects the variance of a mean of shares of m draws each."""
    return draws / max(1.0, draws - 1)
