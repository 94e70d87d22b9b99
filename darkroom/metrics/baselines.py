"""What the numbers must beat: always the commonest class, and the nearest class mean before any training."""

from typing import Any

import numpy as np

from darkroom.core import exactmath
from darkroom.metrics.intervals import wilson
from darkroom.metrics.summary import rounded

MEAN_IMAGES = 1000  # images whose features make the class means, and that test them, when none are cached


def share_right(right: np.ndarray) -> dict[str, Any]:
    """Accuracy with Wilson's interval and n, of bool (n,)."""
    low, high = wilson(int(right.sum()), len(right))
    accuracy = rounded(float(right.mean())) if len(right) else None
    return {"accuracy": accuracy, "accuracy_low": rounded(low), "accuracy_high": rounded(high), "n": len(right)}


def majority(train_counts: dict[str, int], classes: list[str], labels: np.ndarray) -> dict[str, Any]:
    """Answering always with the training set's commonest class, the first of equals."""
    counts = [train_counts.get(name, 0) for name in classes]
    place = int(np.argmax(counts))
    return {"class": classes[place]} | share_right(labels == place)


def balanced_places(labels: np.ndarray, classes: int, most: int = MEAN_IMAGES) -> np.ndarray:
    """At most `most` rows, as many of each class as there are, the first ones of each: int64, ascending.

    Rows are ordered by content, so the first ones are no special ones. Of more classes than `most`, every so many.
    """
    share = max(1, most // max(1, classes))
    found = np.concatenate([np.flatnonzero(labels == place)[:share] for place in range(classes)])
    if len(found) > most:
        found = found[np.linspace(0, len(found) - 1, most).astype(int)]
    return np.sort(found)


def nearest_mean(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> dict[str, Any]:
    """Answering with the class whose mean training feature is nearest: features (m, D), (n, D), labels (m,), (n,)."""
    present = np.unique(train_labels)
    sums = np.stack([exactmath.total(train[train_labels == place], axis=0) for place in present])
    means = sums / np.array([[np.count_nonzero(train_labels == place)] for place in present])
    known = np.isfinite(test).all(axis=1)  # a network that diverged gives features that are not
    # |x - m|² = |x|² - 2 x·m + |m|², and |x|² is the same for every class
    distance = exactmath.total(means * means) - 2 * exactmath.product(np.where(known[:, None], test, 0), means.T)
    return {"images": len(train)} | share_right(known & (present[distance.argmin(axis=1)] == test_labels))
