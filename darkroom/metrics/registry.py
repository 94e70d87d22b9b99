"""The table of metrics: the name and direction of each score of `Scorer`, its interval, and where it is shown.

A score with a row appears in metrics/test.json, the comparison, the report and the model card.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from darkroom.core.errors import DarkroomError

LAST = 99  # after the rows that have a position on the model card


class Interval(StrEnum):
    """The method of a score's 95 % interval."""

    SHARE = "share"  # of the images
    COUNTS = "counts"  # of the confusion matrix: the delta method
    MEAN = "mean"  # of one number an image
    AREA = "area"  # under a curve: a bootstrap
    CALIBRATION = "calibration"  # an error that noise can only raise: a bootstrap


@dataclass(frozen=True)
class Metric:
    """One score: `key` in `Scorer.plain` or `Scorer.ranked` and in metrics/test.json, `label` on the card."""

    key: str
    label: str
    interval: Interval = Interval.COUNTS
    higher_is_better: bool = True
    lowest: float = 0.0  # the smallest value there is
    highest: float = 1.0  # and the largest
    long_label: str = ""  # in the report, where it differs from the label
    short_label: str = ""  # in the comparison, where it differs from the label
    class_mean: bool = False  # over the classes of the test set, each of which needs images
    main: bool = False  # at the top of the report
    headline: bool = False  # in metrics/summary.json and in the cross-validation
    compared: bool = True  # a row of `darkroom compare`
    card: int | None = LAST  # position on the model card; None: not on it

    @property
    def ranked(self) -> bool:
        """Whether it costs a sort for each class: `Scorer.ranked`."""
        return self.interval is Interval.AREA

    @property
    def direction(self) -> int:
        """+1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1


METRICS: tuple[Metric, ...] = (
    Metric("accuracy", "accuracy", Interval.SHARE, main=True, headline=True, card=1),
    Metric("top5_accuracy", "top-5 accuracy", Interval.SHARE, card=2),
    Metric("balanced_accuracy", "balanced accuracy", class_mean=True, card=None),
    Metric("macro_precision", "macro precision", long_label="precision, mean of the classes", class_mean=True,
           compared=False, card=4),
    Metric("macro_recall", "macro recall", long_label="recall, mean of the classes", class_mean=True, compared=False,
           card=5),
    Metric("macro_f1", "macro F1", long_label="F1, mean of the classes", class_mean=True, main=True, headline=True,
           card=3),
    Metric("weighted_precision", "precision, weighted by images", class_mean=True, compared=False, card=None),
    Metric("weighted_recall", "recall, weighted by images", Interval.SHARE, compared=False, card=None),
    Metric("weighted_f1", "F1, weighted by images", compared=False, card=None),
    Metric("roc_auc", "ROC AUC", Interval.AREA, long_label="area under the ROC curve", class_mean=True, card=None),
    Metric("average_precision", "average precision", Interval.AREA, class_mean=True, card=None),
    Metric("cohen_kappa", "Cohen's kappa", lowest=-1.0, compared=False, card=None),
    Metric("log_loss", "log loss", Interval.MEAN, higher_is_better=False, highest=inf, main=True, headline=True,
           card=6),
    Metric("brier", "Brier score", Interval.MEAN, higher_is_better=False, highest=2.0, card=None),
    Metric("ece", "expected calibration error", Interval.CALIBRATION, higher_is_better=False, short_label="ECE",
           main=True, card=7),
)  # fmt: skip


def metric(key: str) -> Metric:
    """Return the row of this key. Raises DarkroomError where there is none."""
    for row in METRICS:
        if row.key == key:
            return row
    raise DarkroomError(f"the score {key!r} has no row in darkroom/metrics/registry.py; add one to METRICS")


def compared() -> list[Metric]:
    """Return the metrics that `darkroom compare` shows, in its order."""
    return [row for row in METRICS if row.compared]


def headline() -> list[Metric]:
    """Return the few metrics of metrics/summary.json and of the cross-validation."""
    return [row for row in METRICS if row.headline]


def on_card() -> dict[str, str]:
    """Return the label of each metric of the model card by its key, in the card's order."""
    rows = sorted(((row.card, row) for row in METRICS if row.card is not None), key=lambda pair: pair[0])
    return {row.key: row.label for _, row in rows}


def in_report() -> dict[str, str]:
    """Return the label of every metric by its key, as the report's table shows it."""
    return {row.key: row.long_label or row.label for row in METRICS}


def at_top_of_report() -> dict[str, str]:
    """Return which way is better, in words, for each of the report's main metrics."""
    return {row.key: "more is better" if row.higher_is_better else "less is better" for row in METRICS if row.main}
