"""Draw the contact sheets of the test set: choose the images and write their captions; one function a sheet."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from darkroom.core.text import percent
from darkroom.metrics.predictions import Predictions
from darkroom.metrics.scores import confusion
from darkroom.model.classifier import SavedClassifier
from darkroom.model.heatmaps import class_activation, lit, occlusion
from darkroom.model.runner import BodyRunner
from darkroom.reporting.confusion import pairs
from darkroom.reporting.figures import caption, names_in_lines
from darkroom.reporting.sheets import INK, PALE, RIGHT, WRONG, Group, Tile, draw_sheet

if TYPE_CHECKING:
    from PIL.Image import Image

WORST = 24
PAIRS, PAIR_EXAMPLES = 5, 5
LOOKED_AT = 6  # right ones, and as many wrong ones


@dataclass(frozen=True)
class Photos:
    """Predictions with the pictures that belong to them. `read(rows)` gives images (b, S, S, 3) uint8."""

    predictions: Predictions
    locations: list[str]
    read: Callable[[np.ndarray], np.ndarray]

    @cached_property
    def names(self) -> list[str]:
        """Return the classes' names as a sheet can write them."""
        return names_in_lines(self.predictions.classes)

    def image(self, row: int) -> np.ndarray:
        """Return the picture (S, S, 3) uint8 of a row."""
        return self.read(np.array([row]))[0]

    def tile(self, row: int, *more: np.ndarray) -> Tile:
        """Return an image with answer, confidence, truth and location under it, and `more` images beside it."""
        own = self.predictions
        label, answer = int(own.labels[row]), int(own.predicted[row])
        right = label == answer
        sure = f"{self.names[answer]} ({percent(own.probabilities[row, answer])})"
        said = sure if answer >= 0 else "no answer"
        lines = [(said, RIGHT if right else WRONG)]
        if not right:
            known = f" ({percent(own.probabilities[row, label])})" if answer >= 0 else ""
            lines.append((f"truth: {self.names[label]}{known}", INK))
        return Tile([self.image(row), *more], [*lines, (caption(self.locations[row], row + 1), PALE)])


def worst_order(predictions: Predictions) -> np.ndarray:
    """Return the rows of wrong answers, the most confident first; an image without an answer comes before them all."""
    wrong = np.flatnonzero(~predictions.scorer.correct)
    confidence = np.nan_to_num(predictions.scorer.confidence[wrong], nan=2.0)
    return wrong[np.argsort(-confidence, kind="stable")]


def worst_errors(photos: Photos) -> "Image":
    """Draw the most confident wrong answers."""
    order = worst_order(photos.predictions)
    tiles = [photos.tile(row) for row in order[:WORST]]
    title = f"Worst errors: the {len(tiles)} most confident of {len(order):,} wrong answers"
    return draw_sheet(title, [Group(tiles)], nothing=f"All {len(photos.predictions):,} test images are answered right.")


def least_certain(photos: Photos) -> "Image":
    """Draw the answers, right or wrong, whose two best classes lie closest together."""
    best = np.sort(photos.predictions.probabilities, axis=1)[:, -2:]
    margin = best[:, 1] - best[:, 0] if best.shape[1] == 2 else np.full(len(best), np.nan)
    order = np.argsort(margin, kind="stable")  # NaN sorts last
    tiles = [photos.tile(row) for row in order[: WORST // 2] if np.isfinite(margin[row])]
    return draw_sheet("Least certain: the smallest lead of the best class over the second", [Group(tiles)])


def confused_pairs(photos: Photos) -> "Image":
    """Draw the classes that are most often taken for each other, in either direction, with examples."""
    own = photos.predictions
    counts = confusion(own.labels, own.predicted, len(own.classes))
    both = np.triu(counts + counts.T, 1)
    groups = []
    for pair in pairs(both)[:PAIRS]:
        one, two = pair.actual, pair.answer
        mine = ((own.labels == one) & (own.predicted == two)) | ((own.labels == two) & (own.predicted == one))
        rows = [row for row in worst_order(own) if mine[row]][: PAIR_EXAMPLES + 1]
        a, b = photos.names[one], photos.names[two]
        ways = [(counts[one, two], f"{a} called {b}"), (counts[two, one], f"{b} called {a}")]
        heading = ", ".join(f"{way}: {count}×" for count, way in ways if count)
        groups.append(Group([photos.tile(row) for row in rows], heading))
    return draw_sheet("Most confused pairs", groups, nothing="No class is taken for another.")


def suspects(photos: Photos, order: np.ndarray) -> "Image":
    """Draw images whose label is likely wrong, in the order of suspicion (label_errors.label_errors)."""
    tiles = []
    for row in order[:WORST]:
        own, tile = photos.predictions, photos.tile(row)
        label, answer = own.labels[row], own.predicted[row]
        lines = [
            (f"label: {photos.names[label]}", WRONG),
            (f"rather: {photos.names[answer]} ({percent(own.probabilities[row, answer])})", INK),
            tile.lines[-1],
        ]
        tiles.append(Tile(tile.images, lines))
    title = f"Likely label errors: {len(order):,} of {len(photos.predictions):,} validation and test images"
    return draw_sheet(title, [Group(tiles)], nothing="No label looks wrong to the model.")


def to_look_at(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Choose the images to explain: right ones of different classes, and the most confident wrong ones."""
    right = np.flatnonzero(predictions.scorer.correct)
    labels = predictions.labels[right]
    present = np.unique(labels)
    some = present[np.linspace(0, max(0, len(present) - 1), min(LOOKED_AT, len(present))).astype(int)]
    share = -(-LOOKED_AT // max(1, len(some)))
    chosen = [right[labels == label][:share] for label in some]
    spread = np.concatenate([*chosen, np.empty(0, np.int64)])[:LOOKED_AT].astype(np.int64)
    wrong = [row for row in worst_order(predictions) if predictions.predicted[row] >= 0]
    return spread, np.array(wrong[:LOOKED_AT], np.int64)


def where_it_looks(photos: Photos, heat_of: Callable[[int], np.ndarray], method: str) -> "Image":
    """Draw images beside their heat maps; `heat_of` is the function of `heat_maker`."""
    right, wrong = to_look_at(photos.predictions)
    groups = [
        Group([photos.tile(row, lit(photos.image(row), heat_of(row))) for row in rows], heading)
        for heading, rows in (("Right answers", right), ("Wrong answers", wrong))
    ]
    return draw_sheet(f"Where the model looks ({method}): bright spots speak for the answer", groups)


def heat_maker(photos: Photos, saved: SavedClassifier, body: BodyRunner) -> tuple[Callable[[int], np.ndarray], str]:
    """Return a function from an image's row to its heat (h, w), 0..1, and the method's name.

    Grad-CAM where the features are the average of a map, as in most CNNs; otherwise occlusion, which needs some
    dozens of answers an image.
    """
    answers = photos.predictions.predicted

    def by_map(row: int) -> np.ndarray:
        maps = body.features_and_maps(photos.image(row)[None])[1]
        assert maps is not None
        return class_activation(maps[0], saved.head, int(answers[row]))

    def by_hiding(row: int) -> np.ndarray:
        return occlusion(
            photos.image(row), int(answers[row]), lambda hidden: saved.probabilities(body.features(hidden))
        )

    has_maps = len(answers) > 0 and body.features_and_maps(photos.image(0)[None])[1] is not None
    return (by_map, "Grad-CAM") if has_maps else (by_hiding, "occlusion")
