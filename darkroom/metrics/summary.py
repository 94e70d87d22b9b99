"""The table of metrics with their intervals, as `metrics/test.json` shows it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from darkroom.metrics import registry
from darkroom.metrics.intervals import (
    RESAMPLES,
    can_vary,
    f1_interval,
    percentile_interval,
    resamples,
    wilson,
    without_bias,
)
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.registry import Interval
from darkroom.metrics.scores import Scorer

DIGITS = 6
RANKED_CELLS = 40_000_000  # resamples × images × classes that ranking scores may cost: about a second
FEWEST_RESAMPLES = 100
MOST_CELLS = 2_000_000  # images × classes up to which they get the fewest resamples: five seconds


def summarise(predictions: Predictions, seed: int, count: int = RESAMPLES) -> dict[str, Any]:
    """Every score with `…_low` and `…_high`, `n`, and `per_class`; None where a number does not exist.

    Accuracy, top-5 and each class's precision, recall and F1 have Wilson's interval, the others the percentiles
    of `count` stratified resamples drawn from `seed`, ECE without their bias. Ranking scores cost a sort a class:
    large tables get fewer resamples, and no interval where even 100 would cost too much.
    """
    scorer, n = predictions.scorer, len(predictions)
    once = np.ones((1, n))
    plain = scorer.plain(once) if n else {}
    f1 = plain.pop("f1_by_class", np.full((1, len(predictions.classes)), np.nan))[0]
    scores = {name: float(values[0]) for name, values in (plain | (scorer.ranked(once) if n else {})).items()}
    drawn = _resampled(scorer, seed, count)
    table: dict[str, Any] = {"n": n, "classes": len(predictions.classes)}
    for name, score in scores.items():
        low, high = _interval(registry.metric(name).interval, score, n, drawn.get(name, np.empty(0)))
        exists = np.isfinite(score)
        table[name] = rounded(score)
        table[f"{name}_low"], table[f"{name}_high"] = (rounded(low), rounded(high)) if exists else (None, None)
    unanswered = int((predictions.predicted < 0).sum())
    if unanswered:
        table["unanswered"] = unanswered
    table["per_class"] = per_class(predictions, f1)
    return table


def headline(table: dict[str, Any]) -> dict[str, Any]:
    """Return the few numbers of `summarise` that DVC's tables show: metrics/summary.json."""
    names = [metric.key for metric in registry.headline()]
    return {name: table.get(name) for name in (*names, "accuracy_low", "accuracy_high", "n")}


def scores_block(scorer: Scorer, names: Sequence[str]) -> dict[str, float | None]:
    """The scores of these names, without intervals."""
    n = len(scorer.labels)
    found = scorer.plain(np.ones((1, n))) if n else {}
    return {name: rounded(float(found[name][0])) if name in found else None for name in names}


def per_class(predictions: Predictions, f1: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return support, precision, recall and F1 (K,) of each class with their intervals, by name."""
    scorer = predictions.scorer
    hits, support, answers = (sums[0] for sums in scorer.counts(np.ones((1, len(predictions)))))
    table = {}
    for place, name in enumerate(predictions.classes):
        h, s, a = int(hits[place]), int(support[place]), int(answers[place])
        f1_low, f1_high = f1_interval(h, s, a) if s else (None, None)
        table[name] = {
            "support": s,
            **_proportion("precision", h, a),
            **_proportion("recall", h, s),
            "f1": rounded(f1[place]),
            "f1_low": rounded(f1_low),
            "f1_high": rounded(f1_high),
        }
    return table


def rounded(value: float | None) -> float | None:
    """The value to six digits after the point; None for None and for what is no number."""
    return None if value is None or not np.isfinite(value) else round(float(value), DIGITS)


def ranked_resamples(n: int, classes: int, count: int = RESAMPLES) -> int:
    """How many resamples the ranking scores of n images and so many classes get; 0 where too many cells are to sort."""
    cells = max(1, n * classes)
    return min(count, max(FEWEST_RESAMPLES, RANKED_CELLS // cells)) if cells <= MOST_CELLS else 0


def _interval(kind: Interval, score: float, n: int, drawn: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of a score of n images, from its resampled values `drawn` (b,) where it needs them."""
    if kind is Interval.WILSON:
        return wilson(round(score * n), n)
    if kind is Interval.BOOTSTRAP_WITHOUT_BIAS:
        return without_bias(drawn, score)
    return percentile_interval(drawn) if kind is Interval.BOOTSTRAP else (None, None)


def _resampled(scorer: Scorer, seed: int, count: int) -> dict[str, np.ndarray]:
    """Return each score of `count` resamples (b,); {} when resampling cannot change anything."""
    if not can_vary(scorer.labels):
        return {}
    n, classes = scorer.probabilities.shape
    ranked_left = ranked_resamples(n, classes, count)
    parts: dict[str, list[np.ndarray]] = {}
    for weights in resamples(scorer.labels, count, seed):
        for name, values in scorer.plain(weights).items():
            if name == "f1_by_class":
                continue
            parts.setdefault(name, []).append(values)
        if ranked_left:
            for name, values in scorer.ranked(weights[:ranked_left]).items():
                parts.setdefault(name, []).append(values)
            ranked_left -= min(ranked_left, len(weights))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _proportion(name: str, successes: int, trials: int) -> dict[str, float | None]:
    low, high = wilson(successes, trials)
    share = successes / trials if trials else None
    return {name: rounded(share), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
