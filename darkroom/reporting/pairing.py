"""Pair the answers of two runs to their common test images, and list the images and classes that changed.

A change of the data may correct test labels, exclude a test image, add a class, or move a few images between splits.
Then the images that both runs were tested on are compared; where these are too few, the runs cannot be compared. A
class that was renamed, or joined with another one, is the same class: the old run's answers get the new name.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from darkroom.metrics.predictions import Predictions
from darkroom.metrics.significance import exact_test, holm
from darkroom.reporting.runs import ENOUGH, CompareError, Run

RENAMED_SHOWN = 3  # renamed classes that are named


@dataclass(frozen=True)
class ClassRow:
    """The images of one class that only the new run gets right (fixed), or only the old (broken).

    `p_adjusted` is `p` by Holm's method, over all classes of the test set.
    """

    name: str
    images: int
    old: int
    new: int
    fixed: int
    broken: int
    p: float
    p_adjusted: float


@dataclass(frozen=True)
class Flip:
    """An image that one of the two runs gets right and the other does not."""

    id: str
    location: str
    label: str
    old: str
    new: str
    fixed: bool


@dataclass(frozen=True)
class Pairing:
    """Answers of both runs to the same images in the same order, with the same classes and the new run's labels.

    `old_labels` int64 (n,): indices in `classes` of the labels that the old run was measured with; `only_old`,
    `only_new`: how many test images one of the runs alone has; `renamed`: what classes of the old run are called now;
    `unknown`: how many images are of a class that the old run does not know.
    """

    old: Predictions
    new: Predictions
    old_labels: np.ndarray
    only_old: int
    only_new: int
    renamed: dict[str, str] = field(default_factory=dict)
    unknown: int = 0

    @property
    def relabelled(self) -> int:
        """How many of the images have another label in the new run."""
        return int((self.old_labels != self.new.labels).sum())

    def differences(self, old: str, new: str) -> str:
        """Return the differences of the test sets of the runs `old` and `new` in words, "" where there are none."""
        parts = [f"{was} is called {now} now" for was, now in self.renamed.items()][:RENAMED_SHOWN]
        if len(self.renamed) > RENAMED_SHOWN:
            parts.append(f"{len(self.renamed) - RENAMED_SHOWN:,} more classes are called otherwise")
        if self.unknown:
            verb = "is" if self.unknown == 1 else "are"
            parts.append(f"{self.unknown:,} of these images {verb} of a class that {old} cannot answer")
        if self.only_old or self.only_new:
            parts.append(f"left out: {self.only_old:,} test images of {old} alone, {self.only_new:,} of {new} alone")
        if self.relabelled:
            was, now = self.accuracy_under_old_labels()
            verb = "has" if self.relabelled == 1 else "have"
            parts.append(
                f"{self.relabelled:,} of these images {verb} another label now; under the labels before, accuracy is "
                f"{was:.4f} → {now:.4f}, and the verdict is under those of now"
            )
        return "; ".join(parts)

    def accuracy_under_old_labels(self) -> tuple[float, float]:
        """Return the accuracy of both runs under the labels that the old run was measured with."""
        return tuple(float((run.predicted == self.old_labels).mean()) for run in (self.old, self.new))  # type: ignore[return-value]


def pair(old: Run, new: Run) -> Pairing:
    """Return the answers of two runs to their common images. Raises CompareError where these are too few."""
    one, two = old.predictions, new.predictions
    both = f"{old.name} and {new.name} were not tested on the same images"
    if not len(one) or not len(two):
        raise CompareError(f"{old.name if not len(one) else new.name} has no test image; nothing can be compared")
    here, there = set(one.ids), set(two.ids)
    if len(here & there) < ENOUGH * max(len(here), len(there)):
        raise CompareError(
            f"{both}: {len(here & there):,} in both, {len(here - there):,} only in {old.name}, {len(there - here):,}"
            f" only in {new.name}; run one of them again with the other's source, seed and split"
        )
    if len(here) != len(one.ids) or len(there) != len(two.ids):
        raise CompareError(f"{both}: an id stands in more than one row")
    shared = [row for row, sample in enumerate(one.ids) if sample in there]
    position = {sample: row for row, sample in enumerate(two.ids)}
    renamed = _renamed(one, two, shared, position)
    one = _called(one, renamed)
    classes = [*one.classes, *sorted(set(two.classes) - set(one.classes))]
    before = _rearranged(one, shared, classes)
    after = _rearranged(two, [position[one.ids[row]] for row in shared], classes)
    relabelled = int((before.labels != after.labels).sum())
    if relabelled > (1 - ENOUGH) * len(shared):
        raise CompareError(
            f"{both} under the same labels: {relabelled:,} of {len(shared):,} have another label now, too many to be "
            "corrections; run one of them again with the other's source and corrections"
        )
    unknown = sum(classes[label] not in one.classes for label in after.labels)
    relabelled_old = replace(before, labels=after.labels)
    return Pairing(relabelled_old, after, before.labels, len(here - there), len(there - here), renamed, unknown)


def _renamed(one: Predictions, two: Predictions, shared: Sequence[int], position: dict[str, int]) -> dict[str, str]:
    """Return the new name of each class of `one` that `two` lacks but has nearly all images of under one name."""
    names: dict[str, Counter[str]] = {}
    for row in shared:
        was, now = one.classes[one.labels[row]], two.classes[two.labels[position[one.ids[row]]]]
        names.setdefault(was, Counter())[now] += 1
    commonest = {was: found.most_common(1)[0] for was, found in names.items() if was not in two.classes}
    return {was: now for was, (now, count) in commonest.items() if count >= ENOUGH * names[was].total()}


def _called(found: Predictions, renamed: dict[str, str]) -> Predictions:
    """Return the answers with renamed classes; classes that get the same name are joined, their probabilities added."""
    if not renamed:
        return found
    names = [renamed.get(name, name) for name in found.classes]
    classes = list(dict.fromkeys(names))
    to = np.array([*(classes.index(name) for name in names), -1])
    probabilities = np.zeros((len(found), len(classes)))
    np.add.at(probabilities.T, to[:-1], found.probabilities.T)
    return replace(
        found, classes=classes, labels=to[found.labels], predicted=to[found.predicted], probabilities=probabilities
    )


def _rearranged(found: Predictions, rows: Sequence[int], classes: list[str]) -> Predictions:
    """Return the answers at `rows` in the columns of `classes`; a class that the run lacks has probability 0."""
    to = np.array([*(classes.index(name) for name in found.classes), -1])
    probabilities = np.zeros((len(rows), len(classes)))
    probabilities[:, to[:-1]] = found.probabilities[rows]
    ids = [found.ids[row] for row in rows]
    groups = [found.groups[row] for row in rows] if found.groups else []
    return Predictions(ids, classes, to[found.labels[rows]], to[found.predicted[rows]], probabilities, groups)


def change(one: Predictions, two: Predictions) -> np.ndarray:
    """Return 1 for each image that only `two` gets right, -1 for one that only `one` does, else 0: int64 (n,)."""
    return two.scorer.correct.astype(np.int64) - one.scorer.correct


def class_rows(one: Predictions, two: Predictions) -> list[ClassRow]:
    """Return each class with a flipped image, the smallest p-value first; adjusted over all classes of the test set."""
    changes, present = change(one, two), np.unique(one.labels)
    counts, p_values = [], []
    for label in present:
        mine = one.labels == label
        old, new = (int(run.scorer.correct[mine].sum()) for run in (one, two))
        counts.append((int(mine.sum()), old, new, int((changes[mine] > 0).sum()), int((changes[mine] < 0).sum())))
        p_values.append(exact_test(changes[mine], None if one.group is None else one.group[mine]))
    rows = [
        ClassRow(one.classes[label], *numbers, p, adjusted)
        for label, numbers, p, adjusted in zip(present, counts, p_values, holm(p_values), strict=True)
    ]
    return sorted((row for row in rows if row.fixed + row.broken), key=lambda row: (row.p, row.name))


def flips(one: Predictions, two: Predictions, locations: dict[str, str]) -> list[Flip]:
    """Return the images that were fixed or broken; the broken ones first."""
    was, now = one.scorer.correct, two.scorer.correct
    names = [*one.classes, "no answer"]
    return [
        Flip(
            one.ids[row],
            locations.get(one.ids[row], ""),
            names[one.labels[row]],
            names[one.predicted[row]],
            names[two.predicted[row]],
            bool(now[row]),
        )
        for row in [*np.flatnonzero(was & ~now), *np.flatnonzero(now & ~was)]
    ]
