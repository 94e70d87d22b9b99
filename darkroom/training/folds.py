"""Cross-validate in K folds: the samples that a fold trains on and answers, and the summary of all folds."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.text import percent
from darkroom.images.batches import Table
from darkroom.images.shards import Shards, open_split
from darkroom.metrics import registry
from darkroom.metrics.intervals import NO_WIDTH, OUT_OF_FOLD, Interval
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.summary import rounded, summarise
from darkroom.training.data import Data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLITS = ("train", "val")
LEVEL = 0.95


@dataclass(frozen=True)
class Held:
    """The samples of the held-out fold, as images and as features.

    `groups`: of each sample, "" where it stands alone.
    """

    ids: list[str]
    groups: list[str]
    images: Table
    features: Table | None

    @property
    def labels(self) -> np.ndarray:
        """int64 (n,)."""
        return self.images.labels


def open_fold(split: Path, shards: Path, features: Path, fold: int) -> tuple[Data, Held]:
    """Return the training data without fold number `fold` of data/split.csv, and that fold. Raises DarkroomError.

    As in the pipeline, samples of the train split are trained on, and those of the val split choose the epoch and the
    temperature. The fold holds samples of both; the test split has no folds.
    """
    numbers = {row["id"]: row["fold"] for row in files.read_csv(split)}
    images = [open_split(shards, name) for name in SPLITS]
    cached = [open_split(features, name, shards) for name in SPLITS]
    out = [np.array([numbers.get(name) == str(fold) for name in part.ids()], bool) for part in images]
    if not any(rows.any() for rows in out):
        raise DarkroomError(f"{split} has no sample of fold {fold}; set `folds` in params.yaml to more than {fold}, "
                            "or take it out of the matrix in crossval/dvc.yaml")  # fmt: skip
    train, val, held = _tables(images, out)
    train_features = val_features = Table([cached[0]], [np.empty(0, np.int64)])
    held_features = None
    if all(len(part) == len(rows) for part, rows in zip(cached, out, strict=True)):
        train_features, val_features, held_features = _tables(cached, out)
    chosen = files.digest([fold, *(np.flatnonzero(rows).tolist() for rows in out)])
    data = Data(train, val, train_features, val_features, facts=images[0].index, chosen=chosen)
    ids: list[str] = []
    groups: list[str] = []
    for part, rows in zip(images, out, strict=True):
        ids += itertools.compress(part.ids(), rows)
        groups += itertools.compress(part.groups(), rows)
    return data, Held(ids, groups, held, held_features)


def _tables(parts: list[Shards], out: list[np.ndarray]) -> tuple[Table, Table, Table]:
    """Return train and val without the held-out rows `out`, bool (n,) of each split, and these rows of both."""
    train, val = (Table([part], [np.flatnonzero(~rows)]) for part, rows in zip(parts, out, strict=True))
    return train, val, Table(parts, [np.flatnonzero(rows) for rows in out])


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return metrics/crossval.json from each fold's `n` and scores: each score's mean, standard deviation and interval.

    The interval is Student's t with the variance of Nadeau and Bengio (2003), (1/K + 1/(K-1)) s²: folds share most of
    their training images, so s²/K alone would be too small. Folds that all agree have none: they show no spread.
    """
    from scipy.stats import t

    count = len(results)
    found: dict[str, Any] = {"folds": list(results), "n": sum(result["n"] for result in results)}
    for metric in registry.headline():
        name = metric.key
        values = np.array([result[name] for result in results], np.float64)
        spread = float(values.std(ddof=1))
        half = float(t.ppf(0.5 + LEVEL / 2, count - 1)) * spread * (1 / count + 1 / (count - 1)) ** 0.5
        mean = float(values.mean())
        ends: Interval = (None, None)
        if 2 * half > NO_WIDTH:
            ends = max(metric.lowest, mean - half), min(metric.highest, mean + half)
        found |= {name: rounded(mean), f"{name}_std": rounded(spread)}
        found |= {f"{name}_low": rounded(ends[0]), f"{name}_high": rounded(ends[1])}
    return found


def pooled(parts: Sequence[Predictions], widened: float = OUT_OF_FOLD) -> dict[str, Any]:
    """Return accuracy, macro F1 and log loss, with intervals, of all out-of-fold answers taken as one test set.

    The intervals are those of a test set, `widened` times as wide. In simulations they hold the mean score of the
    folds' models in at least 93 of 100 (benchmarks/README.md), and are narrower than those over folds.
    """
    together = Predictions(
        [name for part in parts for name in part.ids],
        parts[0].classes,
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
        [group for part in parts for group in part.groups or [""] * len(part)],
    )
    table = summarise(together, seed=0, count=1)  # no headline metric needs resamples
    found: dict[str, Any] = {"n": len(together)}
    for metric in registry.headline():
        score, low, high = (table[metric.key + end] for end in ("", "_low", "_high"))
        if low is not None:
            low = rounded(max(metric.lowest, score - widened * (score - low)))
            high = rounded(min(metric.highest, score + widened * (high - score)))
        found |= {metric.key: score, f"{metric.key}_low": low, f"{metric.key}_high": high}
    return found


def figure(found: dict[str, Any]) -> "Figure":
    """Draw each fold's accuracy, their mean and its interval."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    drawn = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = drawn.add_subplot()
    folds = [result["fold"] for result in found["folds"]]
    values = [result["accuracy"] for result in found["folds"]]
    mean = found["accuracy"]
    ends = [found[end] for end in ("accuracy_low", "accuracy_high") if found[end] is not None]
    if ends:
        axes.axhspan(*ends, color="#dbeafe", label="95 % interval of the mean")
    axes.axhline(mean, color="#2563eb", label=f"mean {mean:.2%} ± {found['accuracy_std']:.2%}")
    axes.plot(folds, values, "o", color="#d97706", markersize=8, label="a fold")
    for fold, value in zip(folds, values, strict=True):
        axes.annotate(percent(value), (fold, value), textcoords="offset points", xytext=(0, 9), ha="center", fontsize=8)
    room = max(0.01, (max(values) - min(values)) * 0.35)
    low, high = min(values + ends), max(values + ends)
    axes.set_ylim(max(0.0, low - room), min(1.002, high + room))
    axes.set_xlabel("fold held out")
    axes.set_ylabel("accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set_title(f"{len(folds)}-fold cross-validation, {found['n']:,} images")
    axes.legend(loc="lower right", fontsize=8)
    return drawn
