"""Hold a run's answers on the test set, and write and read the file that keeps them: `plots/predictions.csv`."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TextIO

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.text import quoted
from darkroom.metrics.scores import Scorer, most_probable

KEYS = ("id", "label", "predicted")
GROUP = "group"  # a fourth column, where images belong together
TOLERANCE = 0.01  # of a row's sum: the few digits that others write


@dataclass(frozen=True)
class Predictions:
    """One row an image, in the order of the test shards.

    `ids` sha256 of each file; `classes` K names; `labels` and `predicted` int64 (n,), indices into `classes`,
    predicted -1 where there is no answer; `probabilities` float64 (n, K), calibrated, NaN where there is no
    answer. `groups` n names, "" of an image that stands alone; empty where all do.
    """

    ids: list[str]
    classes: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    groups: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        classes: Sequence[str],
        labels: np.ndarray,
        probabilities: np.ndarray,
        groups: Sequence[str] = (),
    ) -> "Predictions":
        """Return the predictions of these probabilities; a row that holds NaN has no answer."""
        whole = files.table(probabilities.shape)
        for part in files.blocks(whole.shape):
            rows = probabilities[part].astype(np.float64)
            rows[~np.isfinite(rows).all(axis=1)] = np.nan
            whole[part] = rows
        return cls(list(ids), list(classes), labels, most_probable(whole), whole, list(groups))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def group(self) -> np.ndarray | None:
        """The number of each image's group: int64 (n,), from 0; None where every image is a group of its own."""
        return group_codes(self.groups)

    @cached_property
    def scorer(self) -> Scorer:
        """The scores of these answers."""
        return Scorer(self.labels, self.probabilities, self.predicted)


def group_codes(groups: Sequence[str]) -> np.ndarray | None:
    """Return the number of each image's group, int64 (n,) from 0, "" a group of its own; None where all are alone."""
    if not any(groups):
        return None
    numbers: dict[str, int] = {}
    codes = [numbers.setdefault(group or f"\0{row}", len(numbers)) for row, group in enumerate(groups)]
    return np.array(codes, np.int64) if len(numbers) < len(codes) else None


def _wrong(values: Sequence[float], predicted: str) -> str:
    """Return why a row's values are no probabilities of a distribution, or "". Without an answer all are NaN."""
    if not predicted:
        told = next((value for value in values if value == value), None)
        return "" if told is None else f"the probability {told:g}, without a predicted class"
    outside = next((value for value in values if not 0 <= value <= 1), None)
    if outside is not None:
        return f"the probability {outside:g} of an answer, expected 0 to 1"
    whole = sum(values)
    return "" if abs(whole - 1) <= TOLERANCE else f"the probabilities sum to {whole:.6g}, expected 1"


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write `id,label,predicted,` and one probability column a class, to six significant digits; no answer is empty.

    Before the classes stands `group` where images belong together, or where the first class has that very name.
    """
    names = np.array([*predictions.classes, ""], dtype=object)
    with files.atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        grouped = predictions.group is not None or predictions.classes[:1] == [GROUP]
        groups = predictions.groups or [""] * len(predictions)
        writer.writerow([*KEYS, *([GROUP] if grouped else []), *predictions.classes])
        known = predictions.predicted >= 0
        for index, sample in enumerate(predictions.ids):
            row = predictions.probabilities[index].tolist()
            cells = [f"{p:.6g}" for p in row] if known[index] else [""] * len(row)
            label, answer = names[predictions.labels[index]], names[predictions.predicted[index]]
            writer.writerow([sample, label, answer, *([groups[index]] if grouped else []), *cells])


def read_predictions(file: TextIO, name: str) -> Predictions:
    """Return the predictions in an open CSV file, which messages call `name`.

    Raises DarkroomError where it is none, and at the first image without a class, told twice, or with numbers that are
    no probabilities: such a file was changed by hand, and every score of it would be wrong without a word.
    """
    rows = csv.reader(file)
    header = next(rows, [])
    if tuple(header[:3]) != KEYS or len(header) < 4:
        raise DarkroomError(f"{name}: expected the columns id,label,predicted and one a class, found {header[:5]}")
    most = sum(1 for _ in file)  # lines; a row has at least one
    file.seek(0)
    rows = csv.reader(file)
    next(rows)
    first = 4 if header[3] == GROUP else 3
    classes = header[first:]
    index = {label: number for number, label in enumerate(classes)}
    if len(index) < len(classes):
        twice = next(label for number, label in enumerate(classes) if index[label] != number)
        raise DarkroomError(f"{name}: the class {quoted(twice)} has two columns; expected one a class: make it again")
    known: dict[str, int] = {}
    ids: list[str] = []
    groups: list[str] = []
    answers: list[tuple[int, int]] = []
    probabilities = files.table((most, len(classes)))
    for number, row in enumerate(rows, start=2):
        try:
            if len(row) != len(header):
                raise ValueError(f"{len(row)} cells")
            answers.append((index[row[1]], index[row[2]] if row[2] else -1))
            values = [float(cell) if cell else np.nan for cell in row[first:]]
            probabilities[len(ids)] = values
        except (ValueError, KeyError) as error:
            raise DarkroomError(f"{name}, line {number}: {error} does not fit the header; make it again") from error
        if wrong := _wrong(values, row[2]):
            raise DarkroomError(f"{name}, line {number}: {wrong}; make it again")
        if known.setdefault(row[0], number) != number:
            raise DarkroomError(f"{name}, line {number}: line {known[row[0]]} has the id {row[0]}, too; make it again")
        ids.append(row[0])
        groups += row[3:first]
    both = np.array(answers, np.int64).reshape(len(ids), 2)
    return Predictions(ids, classes, both[:, 0], both[:, 1], probabilities[: len(ids)], groups)
