"""Choose which unlabelled images to label next: uncertain ones, unlike what is known, and unlike each other.

Of the images that a classifier is least sure about, CANDIDATES times as many as are asked for, those are taken that lie
furthest from all that is known and from each other: the greedy core-set of O. Sener and S. Savarese, ICLR 2018, on the
images with the smallest margin. benchmarks/README.md has it beside random choice and published strategies.
"""

import numpy as np

CANDIDATES = 5


def margins(probabilities: np.ndarray) -> np.ndarray:
    """Return the lead of the first class over the second in each row (n, K): float64 (n,), 0..1."""
    ranked = np.sort(probabilities.astype(np.float64), axis=1)
    return ranked[:, -1] - ranked[:, -2]


def most_useful(features: np.ndarray, probabilities: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """Return the rows to label next, the most useful first: int64 (min(count, n),).

    `features` (n, d), rows of length 1, and `probabilities` (n, K) of the unlabelled; `known` (m, d) of the labelled.
    """
    candidates = np.argsort(margins(probabilities), kind="stable")[: CANDIDATES * count]
    return candidates[spread(features[candidates], known, count)]


def spread(features: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """Return rows (min(count, n),) of `features` (n, d), each the furthest from `known` (m, d) and those before it."""
    nearest = np.full(len(features), -np.inf)
    for start in range(0, len(known), 4096):
        nearest = np.maximum(nearest, (features @ known[start : start + 4096].T).max(axis=1))
    chosen: list[int] = []
    for _ in range(min(count, len(features))):
        row = int(nearest.argmin())
        chosen.append(row)
        nearest = np.maximum(nearest, features @ features[row])
        nearest[chosen] = np.inf
    return np.array(chosen, np.int64)
