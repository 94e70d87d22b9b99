"""Write the data files and figures of evaluate into plots/test. A new figure is one entry in SHEETS.

DVC hashes the files, so nothing here depends on sums of floats that round differently on other processors; the map of
the features does, and is drawn in the report.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darkroom.core import files
from darkroom.metrics import curves
from darkroom.metrics.answers import Answerer, Answers
from darkroom.metrics.label_errors import likely_label_errors
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.scores import confusion
from darkroom.reporting import gallery
from darkroom.reporting.confusion import confusion_sheet, similar_order, similarity
from darkroom.reporting.gallery import Photos
from darkroom.reporting.sheets import save_png

if TYPE_CHECKING:
    from PIL.Image import Image

ERROR_COLUMNS = (
    "id", "split", "label", "predicted", "confidence", "label_probability", "likely_label_error", "location",
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """The material of the figures: the classifier's answers to the test and the validation set, and the metrics."""

    answerer: Answerer
    test: Answers
    val: Answers
    metrics: dict[str, Any]

    @cached_property
    def photos(self) -> Photos:
        """The test set's answers with their pictures."""
        return Photos(self.test.predictions, self.test.locations, self.test.shards.rows)

    @cached_property
    def unseen(self) -> Photos:
        """The answers to validation and test images, on which the classifier was not trained."""
        val, test = self.val.predictions, self.test.predictions
        probabilities = files.table((len(val) + len(test), len(test.classes)))
        probabilities[: len(val)] = val.probabilities
        probabilities[len(val) :] = test.probabilities
        both = Predictions(
            val.ids + test.ids,
            test.classes,
            np.concatenate([val.labels, test.labels]),
            np.concatenate([val.predicted, test.predicted]),
            probabilities,
            val.groups + test.groups,
        )

        def read(indices: np.ndarray) -> np.ndarray:
            parts = [
                self.val.shards.rows(indices[i : i + 1])
                if index < len(val)
                else self.test.shards.rows(indices[i : i + 1] - len(val))
                for i, index in enumerate(indices)
            ]
            return np.concatenate(parts)

        return Photos(both, self.val.locations + self.test.locations, read)

    @cached_property
    def suspects(self) -> np.ndarray:
        """Rows of `unseen` whose label is likely wrong, the likeliest first."""
        return likely_label_errors(self.unseen.predictions.labels, self.unseen.predictions.probabilities)


def draw_all(folder: Path, material: Material) -> None:
    """Write every data file and every figure into `folder`."""
    own = material.test.predictions
    for name, (columns, rows) in curves.TABLES.items():
        files.write_csv(folder / f"{name}.csv", columns, rows(own))
    per_class = curves.per_class_rows(own, material.metrics["per_class"])
    files.write_csv(folder / "per_class.csv", curves.PER_CLASS_COLUMNS, per_class)
    files.write_csv(folder / "errors.csv", ERROR_COLUMNS, _error_rows(material))
    for name, draw in SHEETS.items():
        save_png(folder / "sheets" / f"{name}.png", draw(material))


def _confusion(material: Material) -> "Image":
    own = material.test.predictions
    counts = confusion(own.labels, own.predicted, len(own.classes))
    return confusion_sheet(counts, own.classes, similar_order(similarity(own)))


def _where_it_looks(material: Material) -> "Image":
    heat_of, method = gallery.heat_maker(material.photos, material.answerer.saved, material.answerer.body)
    return gallery.where_it_looks(material.photos, heat_of, method)


SHEETS: dict[str, Callable[[Material], "Image"]] = {
    "confusion": _confusion,
    "worst_errors": lambda material: gallery.worst_errors(material.photos),
    "least_certain": lambda material: gallery.least_certain(material.photos),
    "confused_pairs": lambda material: gallery.confused_pairs(material.photos),
    "where_it_looks": _where_it_looks,
    "label_errors": lambda material: gallery.suspects(material.unseen, material.suspects),
}


def _error_rows(material: Material) -> Iterator[tuple[Any, ...]]:
    """Yield every wrong answer to a test or validation image, the test set's first, the most confident ones first."""
    own, unseen = material.unseen.predictions, material.unseen
    suspects, validation = set(material.suspects.tolist()), len(material.val.predictions)
    order = gallery.worst_order(own)
    for i in [*order[order >= validation].tolist(), *order[order < validation].tolist()]:
        shares = own.scorer.confidence[i], own.probabilities[i, own.labels[i]]
        split, suspect = "val" if i < validation else "test", "yes" if i in suspects else "no"
        yield own.ids[i], split, *_names(own, i), *map(_short, shares), suspect, unseen.locations[i]


def _names(own: Predictions, i: int) -> tuple[str, str]:
    """Label and answer of row i; no answer is empty."""
    return own.classes[own.labels[i]], own.classes[own.predicted[i]] if own.predicted[i] >= 0 else ""


def _short(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
