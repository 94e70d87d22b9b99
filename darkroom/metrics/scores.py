"""Score a classifier's probabilities, in numpy, for one sample or a thousand resamples at once.

Every score takes weights (b, n): how often each of n images counts in each of b resamples. The usual score is that of
one row of ones. NaN means that a number does not exist (the recall of a class without an image, an area under a curve
without negatives); writers turn it into `null`.

Where a class mean is taken ("macro"), it is over the classes that the test set holds, and the precision of a
class that is never predicted counts as 0, as in scikit-learn's `zero_division=0`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from darkroom.core import exactmath
from darkroom.core.files import blocks

ECE_BINS = 15
FINER = 2.0**20  # times finer than the grid of exactmath.multiply, which coarsens it where many images require it
TOP = 5
CHUNK_CELLS = 4_000_000  # draws held at once: 32 MB


@dataclass(frozen=True)
class Scorer:
    """Scores for fixed answers. `labels` int64 (n,), `probabilities` (n, K), `predicted` int64 (n,) or -1.

    An image whose probabilities hold NaN has no answer: it counts as wrong, and the scores that need its
    probabilities do not exist.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, probabilities: np.ndarray) -> "Scorer":
        """Return the scorer whose answer is the most probable class (the first of equals)."""
        return cls(labels, probabilities, most_probable(probabilities))

    @cached_property
    def correct(self) -> np.ndarray:
        """Which answers are right: bool (n,)."""
        return self.labels == self.predicted

    @cached_property
    def finite(self) -> bool:
        """Whether every probability is a number."""
        return all(np.isfinite(self.probabilities[part]).all() for part in blocks(self.probabilities.shape))

    @cached_property
    def true_probability(self) -> np.ndarray:
        """The probability of the true class: (n,)."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    @cached_property
    def losses(self) -> np.ndarray:
        """-log p(true class), in nats, p not below the float's epsilon as in scikit-learn: (n,)."""
        with np.errstate(invalid="ignore"):
            return -exactmath.log(np.clip(self.true_probability, np.finfo(np.float64).eps, 1.0))

    @cached_property
    def brier_terms(self) -> np.ndarray:
        """Squared distance to the one-hot truth, halved for two classes as in scikit-learn: (n,)."""
        squares = np.empty(len(self.labels))
        for part in blocks(self.probabilities.shape):
            squares[part] = exactmath.total(self.probabilities[part] ** 2)
        terms = squares - 2 * self.true_probability + 1
        return terms / 2 if self.probabilities.shape[1] <= 2 else terms

    def terms(self, key: str) -> np.ndarray:
        """Return the terms (n,) whose mean is the score `key`, one of MEANS."""
        return MEANS[key](self)

    @cached_property
    def unweighted(self) -> dict[str, np.ndarray]:
        """Every score of `plain` with each image counted once, each (1,); {} without an image."""
        return self.plain(np.ones((1, len(self.labels)))) if len(self.labels) else {}

    @cached_property
    def confidence(self) -> np.ndarray:
        """The highest probability: (n,), NaN where there is none."""
        return self.probabilities.max(axis=1) if len(self.labels) else np.empty(0)

    @cached_property
    def top5(self) -> np.ndarray:
        """Whether fewer than five classes come before the true one (ties: the earlier class first)."""
        found = np.zeros(len(self.labels), bool)
        for part in blocks(self.probabilities.shape):
            own, rows = self.true_probability[part, None], self.probabilities[part]
            earlier = np.arange(rows.shape[1]) < self.labels[part, None]
            ahead = (rows > own) | ((rows == own) & earlier)
            found[part] = ahead.sum(axis=1) < TOP
        return found & np.isfinite(self.true_probability)

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return true positives, images and answers of each class: three (b, K)."""
        classes = self.probabilities.shape[1]
        support = _sums_by(self.labels, weights, classes)
        hits = _sums_by(np.where(self.correct, self.labels, -1), weights, classes)
        return hits, support, _sums_by(self.predicted, weights, classes)

    def plain(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return every score that needs no ranking, each (b,), and `f1_by_class` (b, K)."""
        hits, support, answers = self.counts(weights)
        total = weights.sum(axis=1)
        present = support > 0
        recall = _divide(hits, support)
        precision = np.where(present & (answers == 0), 0.0, _divide(hits, answers))
        f1 = _divide(2 * hits, support + answers)
        share = _divide(support, total[:, None])
        chance = _divide((support * answers).sum(axis=1), total * total)
        agreement = _divide(hits.sum(axis=1), total)
        scores = {
            "accuracy": agreement,
            "balanced_accuracy": _mean(recall, present),
            "macro_precision": _mean(precision, present),
            "macro_recall": _mean(recall, present),
            "macro_f1": _mean(f1, present),
            "weighted_precision": _mean(precision, present, share),
            "weighted_recall": _mean(recall, present, share),
            "weighted_f1": _mean(f1, present, share),
            "cohen_kappa": _divide(agreement - chance, 1 - chance),
            "f1_by_class": np.where(present, f1, np.nan),
        }
        if self.probabilities.shape[1] > TOP:
            scores["top5_accuracy"] = _divide(_weighted(weights, self.top5[:, None])[:, 0], total)
        nothing = np.full(len(weights), np.nan)
        for name in MEANS:
            if self.finite:
                scores[name] = _divide(_weighted(weights, self.terms(name)[:, None])[:, 0], total)
            else:
                scores[name] = nothing
        scores["ece"] = self.ece(weights) if self.finite else nothing
        return scores

    def ranked(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return area under the ROC curve and average precision, one against the rest, class mean: each (b,)."""
        areas = np.full((len(weights), self.probabilities.shape[1]), np.nan)
        precisions = areas.copy()
        if self.finite:
            for index in np.unique(self.labels):
                areas[:, index], precisions[:, index] = rank_scores(
                    self.labels == index, self.probabilities[:, index], weights
                )
        present = np.isfinite(areas)
        return {"roc_auc": _mean(areas, present), "average_precision": _mean(precisions, present)}

    def ece(self, weights: np.ndarray) -> np.ndarray:
        """Return the expected calibration error (b,): the mean difference of accuracy and confidence over the bins."""
        gaps = np.zeros((len(self.labels), ECE_BINS))
        gaps[np.arange(len(self.labels)), bins_of(self.confidence)] = self.correct - self.confidence
        return _divide(np.abs(_weighted(weights, gaps)).sum(axis=1), weights.sum(axis=1))

    def ece_by_chance(self, group: np.ndarray | None, count: int, seed: int) -> np.ndarray:
        """Return calibration errors (count,) of simulated answers that are right as often as their confidence states.

        Images of one `group` (n,) are right together.
        """
        rng = np.random.default_rng([seed, 0xCA11])
        n = len(self.labels)
        draws = n if group is None else int(group.max(initial=-1)) + 1
        inside = np.zeros((n, ECE_BINS))
        inside[np.arange(n), bins_of(self.confidence)] = 1.0
        sure = _weighted(np.ones((1, n)), inside * self.confidence[:, None])
        rows = max(1, min(count, CHUNK_CELLS // max(1, n)))
        found = []
        for start in range(0, count, rows):
            uniform = rng.random((min(rows, count - start), draws))
            right = (uniform if group is None else uniform[:, group]) < self.confidence
            found.append(np.abs(right.astype(np.float64) @ inside - sure).sum(axis=1) / n)
        return np.concatenate(found) if found else np.empty(0)


# The scores that are the mean of one number an image: the numbers of each.
MEANS: dict[str, Callable[[Scorer], np.ndarray]] = {
    "log_loss": lambda scorer: scorer.losses,
    "brier": lambda scorer: scorer.brier_terms,
}


def most_probable(probabilities: np.ndarray) -> np.ndarray:
    """Return the class of the highest probability, the first of equals: int64 (n,); -1 for a row that holds NaN.

    Compared in float32, as the exported model returns them.
    """
    answers = np.full(len(probabilities), -1, np.int64)
    if probabilities.size:
        for part in blocks(probabilities.shape):
            rows = probabilities[part].astype(np.float32)
            answers[part] = np.where(np.isfinite(rows).all(axis=1), rows.argmax(axis=1), -1)
    return answers


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """Return which of ECE_BINS bins (low, high] of equal width holds each confidence in 0..1: int64 (n,)."""
    return np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)


def rank_scores(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ROC AUC (ties count half) and average precision of one class: two (b,), NaN without both kinds.

    `positive` bool (n,), `score` (n,), `weights` (b, n). AP is the sum of precision times the step in recall
    over the distinct scores, as in scikit-learn.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    chosen = positive[order]
    found = np.unique(np.searchsorted(ends, np.flatnonzero(chosen)))  # the other distinct scores add to neither sum
    above = np.cumsum(weights[:, order], axis=1)
    seen = above[:, ends[found]]
    before = np.where(found > 0, above[:, ends[found - 1]], 0.0)
    hits = np.cumsum(weights[:, order[chosen]], axis=1)[:, np.cumsum(chosen)[ends[found]] - 1]
    gained = np.diff(hits, axis=1, prepend=np.zeros((len(weights), 1)))
    positives = hits[:, -1] if len(found) else np.zeros(len(weights))
    negatives = above[:, -1] - positives
    misses = seen - before - gained
    below = negatives[:, None] - (seen - hits) + misses / 2
    area = _divide((gained * below).sum(axis=1), positives * negatives)
    steps = gained * np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    precision = _divide(steps.sum(axis=1), np.where(negatives > 0, positives, 0))
    return area, precision


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return how many images of class i were answered j: int64 (K, K), without images that have no answer."""
    known = predicted >= 0
    cells = labels[known] * classes + predicted[known]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def _weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return whole weights (b, n) @ values (n, m), which are rounded to a grid on which no order changes the sum."""
    return exactmath.multiply(weights, values * FINER) / FINER


def _sums_by(group: np.ndarray, weights: np.ndarray, groups: int) -> np.ndarray:
    """Sum of the weights (b, n) of each group (n,) 0..groups-1; -1 belongs to none: (b, groups)."""
    sums = np.zeros((len(weights), groups))
    order = np.argsort(group, kind="stable")
    order = order[group[order] >= 0]
    if len(order):
        names, starts = np.unique(group[order], return_index=True)
        sums[:, names] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    below = np.broadcast_to(below, above.shape)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)


def _mean(values: np.ndarray, chosen: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    share = chosen * (1.0 if weights is None else weights)
    return _divide((np.where(chosen, values, 0.0) * share).sum(axis=1), share.sum(axis=1))
