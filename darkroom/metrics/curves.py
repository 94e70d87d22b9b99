"""Compute the points of the plots that DVC draws: one CSV per plot, one row per point."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from darkroom.metrics import abstention
from darkroom.metrics.intervals import share_interval
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.scores import ECE_BINS, bins_of
from darkroom.metrics.summary import rounded

GRID = 101  # points of an averaged curve
Row = tuple[Any, ...]


def confusion_rows(predictions: Predictions) -> Iterator[Row]:
    """Yield (actual, predicted) of each image that has an answer; DVC counts them."""
    for label, answer in zip(predictions.labels, predictions.predicted, strict=True):
        if answer >= 0:
            yield predictions.classes[label], predictions.classes[answer]


def reliability_rows(predictions: Predictions) -> Iterator[Row]:
    """Yield each occupied bin: mean confidence, accuracy with its interval, images."""
    if not predictions.scorer.finite:
        return
    confidence, correct = predictions.scorer.confidence, predictions.scorer.correct
    bins = bins_of(confidence)
    for index in range(ECE_BINS):
        mine = bins == index
        if mine.any():
            low, high = share_interval(int(correct[mine].sum()), int(mine.sum()))
            row = (float(confidence[mine].mean()), float(correct[mine].mean()), low, high)
            yield (*map(rounded, row), int(mine.sum()))


def per_class_rows(predictions: Predictions, table: dict[str, dict[str, Any]]) -> Iterator[Row]:
    """Yield each class of `table` (summary.per_class), the lowest F1 first; those without an image last."""

    def order(name: str) -> tuple[bool, float, str]:
        return table[name]["f1"] is None, table[name]["f1"] or 0.0, name

    for name in sorted(predictions.classes, key=order):
        row = table[name]
        yield (name, row["f1"], row["f1_low"], row["f1_high"], row["precision"], row["recall"], row["support"])


def roc_rows(predictions: Predictions) -> Iterator[Row]:
    """Return (false positive rate, mean true positive rate of the classes): the macro-average ROC curve on a grid."""
    return _averaged(predictions, _roc)


def precision_recall_rows(predictions: Predictions) -> Iterator[Row]:
    """Return (recall, mean precision of the classes): the macro-average precision-recall curve on a grid."""
    return _averaged(predictions, _precision_recall)


def class_curves(predictions: Predictions, kind: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the exact curve of each class with images and others: (name, x, y); `kind`: "roc" or "precision_recall"."""
    for index in range(len(predictions.classes)) if predictions.scorer.finite else ():
        positive = predictions.labels == index
        if positive.any() and not positive.all():
            score = predictions.probabilities[:, index]
            order = np.argsort(-score, kind="stable")
            ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
            hits = np.cumsum(positive[order])[ends]
            misses = ends + 1 - hits
            recall = np.append(0, hits / positive.sum())
            if kind == "roc":
                yield predictions.classes[index], np.append(0, misses / (~positive).sum()), recall
            else:
                precision = hits / (ends + 1)
                yield predictions.classes[index], recall, np.append(precision[:1], precision)


def _averaged(
    predictions: Predictions, on_grid: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> Iterator[Row]:
    kind = "roc" if on_grid is _roc else "precision_recall"
    grid = np.linspace(0, 1, GRID)
    curves = [on_grid(grid, x, y) for _, x, y in class_curves(predictions, kind)]
    if curves:
        yield from zip(grid.round(2).tolist(), map(rounded, np.mean(curves, axis=0)), strict=True)


def _roc(grid: np.ndarray, false: np.ndarray, true: np.ndarray) -> np.ndarray:
    # Where the curve is vertical its upper end counts: the last point at or before each grid point, then the slope.
    last = np.searchsorted(false, grid, side="right") - 1
    after = np.minimum(last + 1, len(false) - 1)
    step = np.maximum(false[after] - false[last], 1e-12)
    return true[last] + (true[after] - true[last]) * np.clip((grid - false[last]) / step, 0, 1)


def _precision_recall(grid: np.ndarray, recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    # The precision where the recall is first reached: interpolation between points would be too optimistic.
    return precision[np.searchsorted(recall, grid - 1e-12, side="left")]


def risk_coverage_rows(predictions: Predictions) -> Iterator[Row]:
    """Yield (share answered, accuracy, lowest confidence among them), the surest answers first, at most POINTS."""
    for row in abstention.curve(abstention.Answered(predictions.labels, predictions.probabilities, None)):
        yield tuple(map(rounded, row))


TABLES: dict[str, tuple[tuple[str, ...], Callable[[Predictions], Iterator[Row]]]] = {
    "confusion": (("actual", "predicted"), confusion_rows),
    "reliability": (("confidence", "accuracy", "accuracy_low", "accuracy_high", "images"), reliability_rows),
    "risk_coverage": (("answered", "accuracy", "confidence"), risk_coverage_rows),
    "roc": (("false_positive_rate", "true_positive_rate"), roc_rows),
    "precision_recall": (("recall", "precision"), precision_recall_rows),
}
PER_CLASS_COLUMNS = ("class", "f1", "f1_low", "f1_high", "precision", "recall", "images")
