"""Compute the table of metrics with their intervals, as `metrics/test.json` holds it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import inf
from typing import Any

import numpy as np

from darkroom.metrics import intervals, registry
from darkroom.metrics.influence import influence
from darkroom.metrics.intervals import RESAMPLES, f1_interval, share_interval
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.registry import Interval, Metric
from darkroom.metrics.scores import Scorer

DIGITS = 6
RANKED_CELLS = 40_000_000  # resamples × images × classes that ranking scores may cost: about a second
FEWEST_RESAMPLES = 100
MOST_CELLS = 2_000_000  # images × classes up to which they get the fewest resamples: five seconds


def summarise(predictions: Predictions, seed: int, count: int = RESAMPLES) -> dict[str, Any]:
    """Return every score with `…_low` and `…_high`, `n`, and `per_class`; None where a number does not exist.

    The registry names the kind of each interval, and darkroom.metrics.intervals computes it; it is None where the
    images are too few for one that holds. `seed`: of the `count` resamples that calibration and ranking need. Ranking
    scores cost a sort a class: large tables get fewer resamples, and no interval where even 100 would cost too much.
    """
    scorer, n = predictions.scorer, len(predictions)
    plain = dict(scorer.unweighted)
    f1 = plain.pop("f1_by_class", np.full((1, len(predictions.classes)), np.nan))[0]
    ranked = scorer.ranked(np.ones((1, n))) if n else {}
    scores = {name: float(values[0]) for name, values in (plain | ranked).items()}
    spread = Spread(predictions, seed, count)
    table: dict[str, Any] = {"n": n, "classes": len(predictions.classes)}
    if predictions.group is not None:
        table |= {"groups": spread.groups, "design_effect": rounded(spread.effect)}
    for name, score in scores.items():
        table[name] = rounded(score)
        low, high = spread.interval(registry.metric(name), score) if np.isfinite(score) else (None, None)
        table[f"{name}_low"], table[f"{name}_high"] = rounded(low), rounded(high)
    unanswered = int((predictions.predicted < 0).sum())
    if unanswered:
        table["unanswered"] = unanswered
    table["per_class"] = per_class(predictions, f1, spread)
    return table


class Spread:
    """How far the scores of a test set may be from the truth: the 95 % interval of each.

    `effect`: the design effect, how many times the variance of the accuracy is that of independent images; 1 without
    groups. `z`: the quantile for so many groups. `freedom`, `draws`: see intervals.freedom_of and erring_draws.
    """

    def __init__(self, predictions: Predictions, seed: int, count: int) -> None:
        self.predictions, self.scorer, self.group = predictions, predictions.scorer, predictions.group
        self.seed, self.count = seed, count
        self.effect, self.z, self.groups = 1.0, intervals.Z, len(predictions)
        self.freedom = self.draws = inf
        if self.group is not None:
            sizes = np.bincount(self.group)
            self.effect, self.groups = intervals.design_effect(~self.scorer.correct, self.group), len(sizes)
            self.freedom = intervals.freedom_of(sizes)
            self.z = intervals.student(max(1.0, self.freedom - 1))
            self.draws = intervals.erring_draws(~self.scorer.correct, self.group)

    @cached_property
    def errors(self) -> int:
        """The number of wrong answers, or of groups with any."""
        return intervals.erring(~self.scorer.correct, self.group)

    @cached_property
    def of_a_class(self) -> float:
        """The harmonic mean of the draws of each class."""
        return intervals.draws_of_a_class(self.scorer.labels, len(self.predictions.classes), self.group)

    @cached_property
    def inflate(self) -> float:
        """The factor of the variance of a mean over classes of so few images each."""
        return intervals.inflation(self.of_a_class)

    def interval(self, metric: Metric, score: float) -> intervals.Interval:
        """Return the interval of a score; (None, None) where images are too few, or too alike, for one that holds."""
        low, high = self._interval(metric, score)
        if low is None or high is None or high - low < intervals.NO_WIDTH:
            return None, None
        return max(low, metric.lowest), min(high, metric.highest)

    def _interval(self, metric: Metric, score: float) -> intervals.Interval:
        n = len(self.predictions)
        if metric.interval is Interval.SHARE:
            return self.share(round(score * n), n)
        few_groups = self.freedom < intervals.FEWEST_DRAWS
        few_images = metric.class_mean and self.of_a_class < intervals.FEWEST_OF_A_CLASS
        if few_groups or few_images or len(np.unique(self.scorer.labels)) < 2:
            return None, None
        if metric.interval is Interval.COUNTS:
            found = influence(metric.key, self.scorer, self.effect)
            inflate = self.inflate if metric.class_mean else 1.0
            return intervals.score_interval(score, found, self.group, self.effect, inflate, self.draws)
        if self.errors < (1 if self.group is None else intervals.FEWEST_GROUPS):  # what an error costs is unknown
            return None, None
        if metric.interval is Interval.AREA:
            if self.errors < intervals.FEWEST_ERRORS:
                return None, None
            # The few errors decide an area near 1: they are the draws that its spread is estimated from.
            z = intervals.student(min(self.errors, self.draws) - 1)
            drawn, inflate = self._areas[metric.key], self.inflate
            if self.group is not None and len(drawn) > 1 and drawn.var():
                # Few groups hardly show how their images vary together; the variance is at least that of answers.
                inflate *= max(1.0, self.effect * float(self._areas_of_images[metric.key].var() / drawn.var()))
            return intervals.area_interval(score, drawn, inflate, z)
        if metric.interval is Interval.MEAN:
            return intervals.mean_interval(
                self.scorer.terms(metric.key), self.group, draws=self.draws, effect=self.effect
            )
        return intervals.calibration_interval(score, *self._calibration)

    def share(self, successes: float, trials: float) -> intervals.Interval:
        """Return the interval of a share of the images, which count as `1 / effect` draws each."""
        return share_interval(successes / self.effect, trials / self.effect, self.z)

    @cached_property
    def _areas(self) -> dict[str, np.ndarray]:
        """Return the resampled values (b,) of each area; empty where they would cost too much."""
        return self._areas_by(self.group)

    @cached_property
    def _areas_of_images(self) -> dict[str, np.ndarray]:
        """Return them as if every image were a draw of its own."""
        return self._areas_by(None)

    def _areas_by(self, group: np.ndarray | None) -> dict[str, np.ndarray]:
        n, classes = self.scorer.probabilities.shape
        parts = [
            self.scorer.ranked(weights)
            for weights in intervals.redrawn(n, group, ranked_resamples(n, classes, self.count), self.seed)
        ]
        names = [metric.key for metric in registry.METRICS if metric.interval is Interval.AREA]
        return {name: np.concatenate([part[name] for part in parts] or [np.empty(0)]) for name in names}

    @cached_property
    def _calibration(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the calibration errors (b,) of resamples, and of labels drawn as the confidences say."""
        n = len(self.predictions)
        drawn = [self.scorer.ece(weights) for weights in intervals.redrawn(n, self.group, self.count, self.seed)]
        return np.concatenate(drawn), self.scorer.ece_by_chance(self.group, self.count, self.seed)


def why_no_interval(table: Mapping[str, Any], key: str) -> str:
    """Return why a score of metrics/test.json has no interval, or a dash where it does not exist itself."""
    if table.get(key) is None:
        return "–"
    cells = table.get("n", 0) * table.get("classes", 1)
    return "too many images to rank" if registry.metric(key).ranked and cells > MOST_CELLS else "too few images"


def headline(table: dict[str, Any]) -> dict[str, Any]:
    """Return the few numbers of `summarise` that DVC's tables show: metrics/summary.json."""
    names = [metric.key for metric in registry.headline()]
    return {name: table.get(name) for name in (*names, "accuracy_low", "accuracy_high", "n")}


def scores_block(scorer: Scorer, names: Sequence[str]) -> dict[str, float | None]:
    """Return the scores of these names, without intervals."""
    found = scorer.unweighted
    return {name: rounded(float(found[name][0])) if name in found else None for name in names}


def per_class(predictions: Predictions, f1: np.ndarray, spread: Spread) -> dict[str, dict[str, Any]]:
    """Return support, precision, recall and F1 (K,) of each class with their intervals, by name."""
    scorer = predictions.scorer
    hits, support, answers = (sums[0] for sums in scorer.counts(np.ones((1, len(predictions)))))
    table = {}
    for index, name in enumerate(predictions.classes):
        h, s, a = int(hits[index]), int(support[index]), int(answers[index])
        draws = [count / spread.effect for count in (h, s, a)]
        f1_low, f1_high = f1_interval(draws[0], draws[1], draws[2], spread.z) if s else (None, None)
        table[name] = {
            "support": s,
            **_proportion("precision", h, a, spread),
            **_proportion("recall", h, s, spread),
            "f1": rounded(f1[index]),
            "f1_low": rounded(f1_low),
            "f1_high": rounded(f1_high),
        }
    return table


def rounded(value: float | None) -> float | None:
    """Return the value to six digits after the point; None for None and for what is not a number."""
    return None if value is None or not np.isfinite(value) else round(float(value), DIGITS)


def ranked_resamples(n: int, classes: int, count: int = RESAMPLES) -> int:
    """Return how many resamples the ranking scores of n images and so many classes get; 0 where they cost too much."""
    cells = max(1, n * classes)
    return min(count, max(FEWEST_RESAMPLES, RANKED_CELLS // cells)) if cells <= MOST_CELLS else 0


def _proportion(name: str, successes: int, trials: int, spread: Spread) -> dict[str, float | None]:
    low, high = spread.share(successes, trials)
    share = successes / trials if trials else None
    return {name: rounded(share), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
