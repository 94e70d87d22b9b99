"""Predict sets of classes that hold the right one with a stated probability: split conformal prediction.

A class is in a picture's set when its calibrated probability reaches the class's threshold (M. Sadinle, J. Lei and
L. Wasserman, JASA 114, 2019); of all sets with the same coverage these are the smallest. Thresholds are quantiles of
the probabilities of the true class on validation images, so that the set of a new picture from the same source holds
its class with a probability of at least the level, whatever the classifier. In addition, the most probable class is
always in the set, so that no set is empty and coverage can only rise; and a class with enough validation images has a
threshold of its own, so that the level holds for its pictures, not only on average (V. Vovk, ACML 2012).

Everything here is sorting and counting: the same bits on every processor.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from darkroom.metrics import intervals

LEVELS = (0.9, 0.95, 0.99)
ENOUGH = 5.0  # validation images of a class, times 1 - level, from which it has a threshold of its own
DIGITS = 6  # of a threshold, which is rounded down, so that sets can only grow

Thresholds = float | list[float]  # one for all classes, or one a class


def quantile(values: np.ndarray, share: float) -> float | None:
    """Return a value below which the next one from the same source falls with a probability of at most `share`.

    `values` (n,), finite. It is the k-th smallest, k = share (n + 1) rounded down and at most n; None where k is 0.
    """
    k = min(math.floor(round(share * (len(values) + 1), 9)), len(values))
    return rounded_down(float(np.sort(values)[k - 1])) if k >= 1 else None


def rounded_down(value: float) -> float:
    """Return `value` rounded down to DIGITS decimals."""
    return math.floor(value * 10**DIGITS) / 10**DIGITS


def thresholds(labels: np.ndarray, probabilities: np.ndarray, level: float) -> Thresholds | None:
    """Return the probability from which a class is in the set, at `level`; None with too few validation images.

    `labels` (n,) and `probabilities` (n, K) of the validation images that have an answer. Classes without enough images
    share a threshold: that of their own images, or, where these are too few, the lower of the one of all images and the
    lowest that any of theirs has.
    """
    missed, own = 1 - level, probabilities[np.arange(len(labels)), labels]
    for_all = quantile(own, missed)
    if for_all is None:
        return None
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    large = counts >= math.ceil(round(ENOUGH / missed, 9))
    if not large.any():
        return for_all
    others = own[~large[labels]]
    shared = quantile(others, missed)
    if shared is None:
        shared = rounded_down(min([for_all, *others.tolist()]))
    found = np.full(len(counts), shared)
    for index in np.flatnonzero(large):
        found[index] = quantile(own[labels == index], missed)
    return [float(value) for value in found]


def sets(probabilities: np.ndarray, limits: Thresholds) -> np.ndarray:
    """Return which classes are in the set of each picture: bool (n, K) for probabilities (n, K), at least one a row.

    All classes are in the set of a row that is not finite.
    """
    found = np.asarray(probabilities >= np.asarray(limits))
    known = np.isfinite(probabilities).all(axis=1)
    rows = np.flatnonzero(known)
    found[rows, probabilities[rows].argmax(axis=1)] = True
    found[~known] = True
    return found


def calibrate(
    labels: np.ndarray, probabilities: np.ndarray, asked: float | None
) -> tuple[float | None, dict[float, Thresholds]]:
    """Return the level that is shown first, and the thresholds by level; (None, {}) with too few validation images.

    `labels` (n,) and `probabilities` (n, K) of the validation images; `asked`: a level beside LEVELS, shown first.
    Without one it is the lowest level above the accuracy on validation, since lower levels give hardly more than the
    plain answers; but none whose sets hold more than half of what one class leaves, which say next to nothing. Some
    wrong labels are enough for such sets.
    """
    known = np.isfinite(probabilities).all(axis=1)
    labels, probabilities = labels[known], probabilities[known]
    found: dict[float, Thresholds] = {}
    lower: Thresholds = 1.0
    for level in sorted({*LEVELS, *([] if asked is None else [asked])}):
        limits = thresholds(labels, probabilities, level)
        if limits is not None:
            # Never above that of a lower level, so that a set holds the sets of all lower levels.
            found[level] = lower = np.minimum(limits, lower).tolist()
    if not found:
        return None, found
    if asked is not None:
        return asked if asked in found else max(found), found
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    most = (1 + probabilities.shape[1]) / 2
    telling = [level for level in found if sets(probabilities, found[level]).sum(axis=1).mean() <= most] or [min(found)]
    return next((level for level in telling if level > accuracy), telling[-1]), found


def measure(
    labels: np.ndarray, probabilities: np.ndarray, limits: Thresholds, group: np.ndarray | None = None
) -> dict[str, Any]:
    """Return how often the sets of test images hold the right class, with the 95 % interval, and how large they are."""
    n = len(labels)
    chosen = sets(probabilities, limits)
    sizes = chosen.sum(axis=1)
    return share("coverage", chosen[np.arange(n), labels], group) | {
        "mean_size": _rounded(int(sizes.sum()) / n) if n else None,
        "one_class": _rounded(int((sizes == 1).sum()) / n) if n else None,
        "largest": int(sizes.max(initial=0)),
    }


def share(name: str, mask: np.ndarray, group: np.ndarray | None = None) -> dict[str, float | None]:
    """Return the share of True in `mask` (n,) with its 95 % interval; `group` (n,): of images that vary together."""
    n, count = len(mask), int(mask.sum())
    effect, z = 1.0, intervals.Z
    if group is not None and n:
        sizes = np.bincount(group)
        rarer = mask if 2 * count < n else ~mask
        effect = intervals.design_effect(rarer, group)
        z = intervals.student(max(1, intervals.freedom_of(sizes) - 1))
    low, high = intervals.share_interval(count / effect, n / effect, z)
    return {name: _rounded(count / n) if n else None, f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}


def in_words(names: Sequence[str], most: int = 5) -> str:
    """Return "cat, dog or fox"; of more than `most` names, the first ones and how many more there are."""
    if len(names) > most:
        return f"{', '.join(names[:most])} or {len(names) - most:,} more"
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
