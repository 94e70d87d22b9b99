"""Choose which unlabelled images to label next: those that a classifier is unsure about, and unlike each other.

BADGE, J. Ash et al., ICLR 2020: of each image the gradient of the last layer is taken, as if the most probable class
were right. It is long where the classifier is unsure. k-means++ on these gradients chooses those that lie far apart.
benchmarks/README.md has it beside random choice, margins and core-sets.
"""

import numpy as np

from darkroom.core.randomness import generator


def margins(probabilities: np.ndarray) -> np.ndarray:
    """Return the lead of the first class over the second in each row (n, K): float64 (n,), 0..1."""
    ranked = np.sort(probabilities.astype(np.float64), axis=1)
    return ranked[:, -1] - ranked[:, -2]


def most_useful(features: np.ndarray, probabilities: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the rows to label next, in the order in which they were chosen: int64 (min(count, n),).

    `features` (n, d), rows of length 1; `probabilities` (n, K). The gradient of a row is the outer product of its
    features and `errors`; products of two of them come from the factors, so that none is ever made.
    """
    random = generator(seed, "label next")
    errors = probabilities.astype(np.float64)
    errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1
    size = (errors**2).sum(axis=1) * (features**2).sum(axis=1)
    chosen = [int(size.argmax())] if len(errors) else []
    distance = size.copy()
    while len(chosen) < min(count, len(errors)):
        last = chosen[-1]
        products = (errors @ errors[last]) * (features @ features[last])
        distance = np.minimum(distance if len(chosen) > 1 else np.inf, np.maximum(size + size[last] - 2 * products, 0))
        distance[chosen] = 0
        total = distance.sum()
        left = np.setdiff1d(np.arange(len(errors)), chosen)
        chosen.append(int(random.choice(len(errors), p=distance / total) if total > 0 else left[0]))
    return np.array(chosen, np.int64)
