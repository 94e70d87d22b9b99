"""Compute 95 % intervals of the differences between two classifiers' scores on the same images."""

from collections.abc import Sequence
from itertools import chain
from math import inf

import numpy as np

from darkroom.metrics import registry
from darkroom.metrics.influence import paired_influence
from darkroom.metrics.intervals import (
    FEWEST,
    FEWEST_DRAWS,
    FEWEST_ERRORS,
    FEWEST_OF_A_CLASS,
    NO_WIDTH,
    Interval,
    design_effect,
    draws_of_a_class,
    erring,
    erring_draws,
    freedom_of,
    inflation,
    mean_interval,
    redrawn,
    score_interval,
    student,
)
from darkroom.metrics.registry import Interval as Way
from darkroom.metrics.registry import Metric
from darkroom.metrics.scores import Scorer
from darkroom.metrics.significance import accuracy_interval

RESAMPLES = 400  # of areas and calibration errors, to estimate their standard deviation


def paired_intervals(
    old: Scorer,
    new: Scorer,
    names: Sequence[str],
    seed: int,
    count: int = RESAMPLES,
    group: np.ndarray | None = None,
) -> dict[str, Interval]:
    """Return the 95 % interval of new minus old of each score; (None, None) where the images are too few for one.

    Both classifiers have answered the same images; `group` int64 (n,) says which of these belong together. The interval
    of a share comes from the images that only one of the two gets right, that of a score of counts from the influence
    of each image, that of a mean from the difference at each image. That of an area or a calibration error comes from
    the standard deviation of `count` resamples, with Student's t of as many draws as there are wrong answers.
    Percentiles of resamples miss flips that did not occur: where two classifiers answer nearly alike, they held the
    difference of macro F1 in 1 to 70 of 100 samples.
    """
    pair = Pair(old, new, group)
    drawn = pair.resampled(names, seed, count)
    return {name: pair.interval(registry.metric(name), drawn.get(name)) for name in names}


class Pair:
    """Two classifiers' answers to the same images, and how many draws these images are worth.

    `group` int64 (n,): of images that belong together, or None. `freedom`: as intervals.freedom_of; `draws`: as
    intervals.erring_draws; `errors`: the fewer of the two numbers of wrong answers, or of groups with any.
    """

    def __init__(self, old: Scorer, new: Scorer, group: np.ndarray | None) -> None:
        self.old, self.new, self.group = old, new, group
        present, labels = np.unique(old.labels, return_inverse=True)
        self.classes, self.of_a_class = len(present), draws_of_a_class(labels, len(present), group)
        self.errors = min(erring(~scorer.correct, group) for scorer in (old, new))
        self.effect, self.freedom, self.draws, fewest = 1.0, float(len(old.labels)), inf, FEWEST
        if group is not None:
            self.effect = design_effect(new.correct.astype(np.int64) - old.correct, group)
            self.freedom, fewest = freedom_of(np.bincount(group)), FEWEST_DRAWS
            self.draws = erring_draws(~old.correct | ~new.correct, group)
        self.few = self.freedom < fewest

    def interval(self, metric: Metric, drawn: np.ndarray | None) -> Interval:
        """Return the interval of a score's difference. `drawn`: the score's entry in `resampled`, or None.

        (None, None) also for one without a width: all images differ by the same, so that nothing shows how they vary.
        """
        low, high = self._interval(metric, drawn)
        return (None, None) if low is None or high is None or high - low < NO_WIDTH else (low, high)

    def _interval(self, metric: Metric, drawn: np.ndarray | None) -> Interval:
        if self.few or (metric.class_mean and (self.of_a_class < FEWEST_OF_A_CLASS or self.classes < 2)):
            return None, None
        if metric.interval is Way.SHARE:
            one, two = (each.top5 if metric.key == "top5_accuracy" else each.correct for each in (self.old, self.new))
            return accuracy_interval(two.astype(np.int64) - one, self.group)
        if metric.interval is Way.COUNTS:
            seen = float(self.new.unweighted[metric.key][0] - self.old.unweighted[metric.key][0])
            moved = paired_influence(metric.key, self.old, self.new)
            return score_interval(seen, moved, self.group, self.effect, inflation(self.of_a_class), self.draws)
        if metric.interval is Way.MEAN and self.old.finite and self.new.finite:
            values = self.new.terms(metric.key) - self.old.terms(metric.key)
            return mean_interval(values, self.group, skewed=False, draws=self.draws, effect=self.effect)
        if drawn is None or not np.isfinite(drawn).all():
            return None, None
        half = student(min(self.errors, self.freedom) - 1) * float(drawn[1:].std(ddof=1))
        return max(-1.0, drawn[0] - half), min(1.0, drawn[0] + half)

    def resampled(self, names: Sequence[str], seed: int, count: int) -> dict[str, np.ndarray]:
        """Return new minus old (1 + count,) of the areas and calibration errors among `names`: as seen, then resampled.

        {} where the images are too few.
        """
        metrics = [registry.metric(name) for name in names]
        chosen = [metric for metric in metrics if metric.interval in (Way.AREA, Way.CALIBRATION)]
        ranked = any(metric.ranked for metric in chosen)
        if self.few or self.errors < FEWEST_ERRORS or not (chosen and self.old.finite and self.new.finite):
            return {}
        n = len(self.old.labels)
        parts: dict[str, list[np.ndarray]] = {metric.key: [] for metric in chosen}
        for weights in chain([np.ones((1, n))], redrawn(n, self.group, count, seed)):
            one, two = (
                {"ece": each.ece(weights)} | (each.ranked(weights) if ranked else {}) for each in (self.old, self.new)
            )
            for name, values in parts.items():
                values.append(two[name] - one[name])
        return {name: np.concatenate(values) for name, values in parts.items()}
