"""A run's answers on the test set, and the file that keeps them: `plots/predictions.csv`."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TextIO

import numpy as np

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.metrics.scores import Scorer, most_probable

KEYS = ("id", "label", "predicted")


@dataclass(frozen=True)
class Predictions:
    """One row an image, in the order of the test shards.

    `ids` sha256 of each file; `classes` K names; `labels` and `predicted` int64 (n,), places in `classes`,
    predicted -1 where there is no answer; `probabilities` float64 (n, K), calibrated, NaN where there is no
    answer.
    """

    ids: list[str]
    classes: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def of(
        cls, ids: Sequence[str], classes: Sequence[str], labels: np.ndarray, probabilities: np.ndarray
    ) -> "Predictions":
        """The answers that the probabilities give; a row with a NaN in it has none."""
        whole = files.table(probabilities.shape)
        for part in files.blocks(whole.shape):
            rows = probabilities[part].astype(np.float64)
            rows[~np.isfinite(rows).all(axis=1)] = np.nan
            whole[part] = rows
        return cls(list(ids), list(classes), labels, most_probable(whole), whole)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def scorer(self) -> Scorer:
        """The scores of these answers."""
        return Scorer(self.labels, self.probabilities, self.predicted)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write `id,label,predicted,` and one probability column a class, to six significant digits; no answer is
    empty."""
    names = np.array([*predictions.classes, ""], dtype=object)
    with files.atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*KEYS, *predictions.classes])
        known = predictions.predicted >= 0
        for place, sample in enumerate(predictions.ids):
            row = predictions.probabilities[place].tolist()
            cells = [f"{p:.6g}" for p in row] if known[place] else [""] * len(row)
            label, answer = names[predictions.labels[place]], names[predictions.predicted[place]]
            writer.writerow([sample, label, answer, *cells])


def read_predictions(file: TextIO, name: str) -> Predictions:
    """The predictions in an open CSV file called `name` in messages. Raises DarkroomError when it is no such
    file."""
    rows = csv.reader(file)
    header = next(rows, [])
    if tuple(header[:3]) != KEYS or len(header) < 4:
        raise DarkroomError(f"{name}: expected the columns id,label,predicted and one a class, found {header[:5]}")
    most = sum(1 for _ in file)  # lines, of which a row has at least one
    file.seek(0)
    rows = csv.reader(file)
    next(rows)
    classes = header[3:]
    place = {label: number for number, label in enumerate(classes)} | {"": -1}
    ids: list[str] = []
    answers: list[tuple[int, int]] = []
    probabilities = files.table((most, len(classes)))
    for number, row in enumerate(rows, start=2):
        try:
            answers.append((place[row[1]], place[row[2]]))
            values = [float(cell) if cell else np.nan for cell in row[3:]]
            if len(row) != len(header):
                raise ValueError(f"{len(row)} cells")
            probabilities[len(ids)] = values
        except (ValueError, KeyError, IndexError) as error:
            raise DarkroomError(f"{name}, line {number}: {error} does not fit the header; make it again") from error
        ids.append(row[0])
    both = np.array(answers, np.int64).reshape(len(ids), 2)
    return Predictions(ids, classes, both[:, 0], both[:, 1], probabilities[: len(ids)])
