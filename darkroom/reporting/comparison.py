"""Compare two runs on the same test images: what differs, by how much, and whether chance explains it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from darkroom.metrics import registry
from darkroom.metrics.intervals import design_effect
from darkroom.metrics.paired import RESAMPLES, paired_intervals
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.significance import (
    ALPHA,
    accuracy_interval,
    detectable,
    exact_test,
    images_needed,
)
from darkroom.metrics.summary import ranked_resamples, rounded
from darkroom.reporting import data_change
from darkroom.reporting.pairing import ClassRow, Flip, change, class_rows, flips, pair
from darkroom.reporting.runs import Run, warning_of_many
from darkroom.splits.duplicates import joined

BETTER, WORSE, UNCLEAR = "better", "worse", "no evidence of a difference"


@dataclass(frozen=True)
class Row:
    """One metric of both runs; the interval is of the difference, new minus old. None: no such number."""

    name: str
    old: float | None
    new: float | None
    difference: float | None
    low: float | None
    high: float | None
    direction: int
    verdict: str = ""  # of accuracy alone: among so many rows, some would be better or worse by chance


@dataclass(frozen=True)
class Difference:
    """The difference in accuracy, new minus old, its 95 % interval, and the p-value of the exact test."""

    value: float
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True)
class Comparison:
    """Everything that `darkroom compare` reports."""

    old: str
    new: str
    n: int
    verdict: str
    sentence: str
    margin: float
    fixed: int
    broken: int
    changed: int
    groups: int
    p: float
    more_images: int | None
    detectable: float
    params: list[tuple[str, Any, Any]]
    rows: list[Row]
    classes: list[ClassRow]
    flips: list[Flip]
    tested: str = ""
    data: str = ""
    looks: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for `--json`."""
        return asdict(self) | {
            "params": [{"key": key, "old": old, "new": new} for key, old, new in self.params],
            "question": self.question,
        }

    @property
    def question(self) -> str:
        """Return which question the verdict answers, and a warning where many models have seen the test set."""
        models = ("This is about two trained models, each of one training seed: another seed may turn it round. "
                  "`darkroom repeats REV` asks whether the recipe is better.")  # fmt: skip
        differing = {key for key, _, _ in self.params}
        if differing <= {"train_seed"} and not (self.data or self.tested):
            models = ("Of the params and data only the training seed differs: unless the code does as well, what is"
                      " seen is what chance alone does to this recipe."
                      if differing else "No param or data differs, the training seed included: whatever differs is"
                      " due to the code, the packages or the machine.")  # fmt: skip
        return f"{models} {warning_of_many(self.looks)}".rstrip()

    @property
    def accuracy(self) -> Row:
        """The row of accuracy, which the verdict is about."""
        return self.rows[0]


def compare(
    old: Run,
    new: Run,
    locations: dict[str, str],
    margin: float = 0.0,
    seed: int = 0,
    groups: dict[str, str] | None = None,
) -> Comparison:
    """Compare two runs on their common test images, under the new run's labels. Raises CompareError for too few.

    `locations`: of each image, by id. `groups`: the group of each image that belongs to one, by id, for runs whose
    predictions do not name it. Where a group has several test images, all p-values, intervals and needed images are
    those of groups that flip together.
    """
    paired = pair(old, new)
    one, two = paired.old, paired.new
    if any(one.groups) and any(two.groups):
        known = _joined_groups(one.groups, two.groups)
    else:
        known = one.groups or two.groups or [(groups or {}).get(sample, "") for sample in one.ids]
    one = replace(one, groups=known)
    n, group, changes = len(one), one.group, change(one, two)
    fixed, broken = int((changes > 0).sum()), int((changes < 0).sum())
    effect = 1.0 if group is None else design_effect(changes, group)
    share = (fixed + broken) / n
    low, high = accuracy_interval(changes, group)
    difference = Difference((fixed - broken) / n, low, high, exact_test(changes, group))
    verdict = judge(difference, margin)
    needed = images_needed(max(0.0, abs(difference.value) - margin), share)
    least = min(1.0, margin + detectable(int(n / effect), max(share, 1 / n)))
    more = max(1, ceil(needed * effect) - n) if needed is not None and least < 1 and verdict == UNCLEAR else None
    return Comparison(
        old=old.name,
        new=new.name,
        n=n,
        verdict=verdict,
        sentence=_sentence(verdict, difference, margin, more, least),
        margin=margin,
        fixed=fixed,
        broken=broken,
        changed=int((one.predicted != two.predicted).sum()),
        groups=n if group is None else int(group.max()) + 1,
        p=difference.p,
        more_images=more,
        detectable=least,
        params=differing(old.params, new.params),
        rows=metric_rows(one, two, seed, difference, verdict),
        classes=class_rows(one, two),
        flips=flips(one, two, locations),
        tested=paired.differences(old.name, new.name),
        data=data_change.in_words(old.reader, new.reader),
    )


def judge(accuracy: Difference, margin: float) -> str:
    """Return the verdict: by the exact test without a margin, otherwise by whether the interval clears the margin."""
    if accuracy.low is None or accuracy.high is None or accuracy.p > ALPHA:
        return UNCLEAR
    if margin == 0:
        return BETTER if accuracy.value > 0 else WORSE
    return BETTER if accuracy.low > margin else WORSE if accuracy.high < -margin else UNCLEAR


def metric_rows(one: Predictions, two: Predictions, seed: int, accuracy: Difference, verdict: str) -> list[Row]:
    """Return each compared metric of both runs, with the interval of its difference; accuracy's with the verdict."""
    once = np.ones((1, len(one)))
    before, after = (run.scorer.unweighted | run.scorer.ranked(once) for run in (one, two))
    shown = [metric for metric in registry.compared() if metric.key in before]
    count = ranked_resamples(len(one), len(one.classes), RESAMPLES)
    wanted = [metric.key for metric in shown if metric.key != "accuracy" and (count or not metric.ranked)]
    intervals = paired_intervals(one.scorer, two.scorer, wanted, seed, count or RESAMPLES, one.group)
    rows = []
    for metric in shown:
        a, b = float(before[metric.key][0]), float(after[metric.key][0])
        low, high = intervals.get(metric.key, (None, None))
        if metric.key == "accuracy":
            low, high = accuracy.low, accuracy.high
        ends = rounded(low), rounded(high)
        word = verdict if metric.key == "accuracy" and verdict != UNCLEAR else ""
        rows.append(Row(metric.key, rounded(a), rounded(b), rounded(b - a), *ends, metric.direction, word))
    return rows


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the params whose values differ, by key; None where one run does not have it."""
    return [
        (key, old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)
    ]


def points(share: float) -> str:
    """Return a share in percentage points, signed, without the unit: 0.0123 -> "+1.23"."""
    return f"{100 * share:+.2f}".replace("-", "−")


def _joined_groups(one: Sequence[str], two: Sequence[str]) -> list[str]:
    """Return a group for each image, such that images that share one in either naming share it; "" is no group.

    Two runs may know different ones, such as copies alone and, after `group_by`, patients as well.
    """
    first: dict[tuple[int, str], int] = {}
    pairs = [
        (row, first.setdefault((naming, name), row))
        for row, names in enumerate(zip(one, two, strict=True))
        for naming, name in enumerate(names)
        if name
    ]
    return [str(group) for group in joined(len(one), np.array(pairs, np.int64))]


def _sentence(verdict: str, accuracy: Difference, margin: float, more: int | None, least: float) -> str:
    """Return the verdict with its figures, and where it is unclear, what these images and more of them would show."""
    low, high = accuracy.low, accuracy.high
    exact = f"p = {accuracy.p:.2g}" if accuracy.p else "p < 1e-300"
    figures = f"accuracy {points(accuracy.value)} points"
    if low is not None and high is not None:
        figures += f" (95 % interval {points(low)} to {points(high)}, {exact})"
    if margin:
        figures += f", judged against a margin of {100 * margin:g} points"
    if verdict != UNCLEAR:
        return f"{verdict}: {figures}"
    if margin and low is not None and high is not None:
        if -margin <= low and high <= margin:
            return f"no difference that matters: {figures}"
        verdict = f"{UNCLEAR} beyond the margin"
    if least >= 1:
        return f"{verdict}: {figures}; these images are too few to show any difference"
    power = f"these images would show {100 * least:.1f} points or more"
    if more is None:
        return f"{verdict}: {figures}; {power} with a power of 80 %"
    images = f"about {more:,} more test {'image' if more == 1 else 'images'} would tell"
    return f"{verdict}: {figures}; {images}, if the difference is as seen ({power}; power 80 %)"
