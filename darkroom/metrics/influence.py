"""Compute intervals of scores of the confusion matrix, from how far each image moves them.

To first order such a score (macro F1, kappa, …) is its true value plus a sum of one number an image, the image's
influence, so that its variance is that of the sum: the delta method, or infinitesimal jackknife (F. Hampel, JASA 69,
1974). It is computed at counts smoothed by PRIOR images, half of them right, as A. Agresti and B. Coull (The American
Statistician 52, 1998) do for one proportion: without any error, all influences would otherwise be zero.
Images of one group are summed first (K.-Y. Liang and S. Zeger, Biometrika 73, 1986).

Every sum has a fixed order, since DVC hashes metrics/test.json.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from darkroom.core.exactmath import total
from darkroom.metrics.scores import Scorer

PRIOR = 4.0  # images, the same share of them for each class


@dataclass(frozen=True)
class Counts:
    """`hits`, `images` and `answers` of each class of the test set: float64 (K,)."""

    hits: np.ndarray
    images: np.ndarray
    answers: np.ndarray

    @property
    def n(self) -> float:
        """The number of images."""
        return float(total(self.images))


@dataclass(frozen=True)
class Score:
    """A score of counts: its value, and its gradient with respect to hits, images and answers, three of (K,).

    `bias`: the expectation of the score less the truth, to second order.
    """

    value: float
    hits: np.ndarray
    images: np.ndarray
    answers: np.ndarray
    bias: float = 0.0


@dataclass(frozen=True)
class Influence:
    """A score at smoothed counts, and the influence of each image on it, `images` float64 (n,).

    `value`: the score less its bias; `prior`: the variance of the prior images; `flip`: the square of what one more
    right answer adds, mean of the classes.
    """

    value: float
    images: np.ndarray
    prior: float
    flip: float = 0.0


def macro_recall(counts: Counts) -> Score:
    """Return the mean recall of the classes."""
    share = 1 / counts.images / len(counts.images)
    recall = counts.hits / counts.images
    return Score(_mean(recall), share, -recall * share, np.zeros_like(share))


def macro_precision(counts: Counts) -> Score:
    """Return the mean precision of the classes, 0 for a class that no answer names."""
    named = np.maximum(counts.answers, 1.0)
    share = (counts.answers > 0) / named / len(named)
    precision = counts.hits / named
    return Score(_mean(precision), share, np.zeros_like(share), -precision * share)


def macro_f1(counts: Counts) -> Score:
    """Return the mean F1 of the classes, 2 h / d with d = images + answers.

    Its expectation is 2 h (d - 2 h) / d^3 below the truth: Taylor's second term with the variances of counts.
    """
    both = counts.images + counts.answers
    f1 = 2 * counts.hits / both
    share = 1 / both / len(both)
    missing = f1 * (1 - f1) / both
    return Score(_mean(f1), 2 * share, -f1 * share, -f1 * share, -_mean(missing))


def weighted_precision(counts: Counts) -> Score:
    """Return the mean precision of the classes, weighted by images, which grow with the hits: hence the bias."""
    named, n = np.maximum(counts.answers, 1.0), counts.n
    precision = counts.hits / named
    value = float(total(precision * counts.images)) / n
    share = counts.images * (counts.answers > 0) / named / n
    excess = float(total(precision * (1 - precision))) / n
    return Score(value, share, (precision - value) / n, -precision * share, excess)


def weighted_f1(counts: Counts) -> Score:
    """Return the mean F1 of the classes, weighted by images."""
    both, n = counts.images + counts.answers, counts.n
    f1 = 2 * counts.hits / both
    value = float(total(f1 * counts.images)) / n
    share = counts.images / both / n
    return Score(value, 2 * share, -f1 * share + (f1 - value) / n, -f1 * share)


def cohen_kappa(counts: Counts) -> Score:
    """Return (agreement - chance) / (1 - chance)."""
    n = counts.n
    agreement = float(total(counts.hits)) / n
    chance = float(total(counts.images * counts.answers)) / (n * n)
    rest = max(1 - chance, 1e-12)
    of_chance = (agreement - 1) / (rest * rest)
    hits = np.full_like(counts.hits, 1 / (n * rest))
    images = -agreement / (n * rest) + of_chance * (counts.answers / (n * n) - 2 * chance / n)
    return Score((agreement - chance) / rest, hits, images, of_chance * counts.images / (n * n))


SCORES: dict[str, Callable[[Counts], Score]] = {
    "balanced_accuracy": macro_recall,
    "macro_recall": macro_recall,
    "macro_precision": macro_precision,
    "macro_f1": macro_f1,
    "weighted_precision": weighted_precision,
    "weighted_f1": weighted_f1,
    "cohen_kappa": cohen_kappa,
}


def influence(name: str, scorer: Scorer, effect: float = 1.0) -> Influence:
    """Return the influence of each image of `scorer` on the score `name`, a key of SCORES.

    `effect`: the design effect, images per independent draw; a prior image counts as many.
    """
    hits, images, answers = (sums[0] for sums in scorer.counts(np.ones((1, len(scorer.labels)))))
    present = np.flatnonzero(images)
    each = PRIOR * effect / 2 / len(present)  # prior images of a class that are right, and that are wrong
    found = SCORES[name](
        Counts(
            hits[present] + each, images[present] + 2 * each, answers[present] + (2 if len(present) > 1 else 1) * each
        )
    )
    index = np.full(len(hits) + 1, len(present))  # of each class among those present; of no answer and others: none
    index[present] = np.arange(len(present))
    answered = np.append(found.answers, 0.0)[index[scorer.predicted]]
    label = index[scorer.labels]
    moved = found.images[label] + answered + np.where(scorer.correct, found.hits[label], 0.0)
    return Influence(found.value - found.bias, moved, each * _prior_variance(found), _flip(found))


def paired_influence(name: str, old: Scorer, new: Scorer) -> Influence:
    """Return the influence of each image on new minus old of the score `name`, of two classifiers on the same images.

    The prior is one image that only one of the two answers right, as A. Agresti and Y. Min (Statistics in Medicine 24,
    2005) add it to the difference of two shares.
    """
    was, now = influence(name, old), influence(name, new)
    return Influence(now.value - was.value, now.images - was.images, max(was.flip, now.flip))


def _flip(score: Score) -> float:
    """Return the mean square over classes of the influence of a right answer less that of a wrong one."""
    others = max(1, len(score.hits) - 1)
    gained = score.hits + score.answers - (total(score.answers) - score.answers) / others
    return float(total(gained * gained)) / len(gained)


def _prior_variance(score: Score) -> float:
    """Return the sum of squared influences of a right and a wrong image of each class.

    The wrong answer is any of the other classes.
    """
    right = score.hits + score.images + score.answers
    others = max(1, len(right) - 1)
    mean = (total(score.answers) - score.answers) / others
    square = (total(score.answers * score.answers) - score.answers * score.answers) / others
    wrong = score.images * score.images + 2 * score.images * mean + square
    return float(total(right * right)) + float(total(wrong))


def _mean(values: np.ndarray) -> float:
    return float(total(values)) / len(values)
