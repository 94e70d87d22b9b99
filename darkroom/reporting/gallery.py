"""Which images to show, and what to write under them: one function a contact sheet."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from darkroom.metrics.predictions import Predictions
from darkroom.metrics.scores import confusion
from darkroom.reporting.sheets import INK, PALE, RIGHT, WRONG, Group, Tile, draw_sheet

if TYPE_CHECKING:
    from PIL.Image import Image

WORST = 24
PAIRS, PAIR_EXAMPLES = 5, 5
LOOKED_AT = 6  # right ones, and as many wrong ones


@dataclass(frozen=True)
class Photos:
    """Predictions with the pictures that belong to them. `read(places)` gives images (b, S, S, 3) uint8."""

    predictions: Predictions
    locations: list[str]
    read: Callable[[np.ndarray], np.ndarray]

    def tile(self, place: int, *more: np.ndarray) -> Tile:
        """An image with truth, answer and its confidence, and where the file is; `more` images stand beside it."""
        own = self.predictions
        label, answer = int(own.labels[place]), int(own.predicted[place])
        right = label == answer
        sure = f"{own.classes[answer]} ({percent(own.probabilities[place, answer])})"
        said = sure if answer >= 0 else "no answer"
        lines = [(said, RIGHT if right else WRONG)]
        if not right:
            known = f" ({percent(own.probabilities[place, label])})" if answer >= 0 else ""
            lines.append((f"truth: {own.classes[label]}{known}", INK))
        return Tile([self.read(np.array([place]))[0], *more], [*lines, (self.locations[place], PALE)])


def percent(share: float) -> str:
    """0.987 -> "98.7 %"; never "100 %" for what is only nearly so."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %" if share >= 0.0005 else "<0.1 %"


def worst_order(predictions: Predictions) -> np.ndarray:
    """The wrong answers, the most confident first; an image without an answer comes before them all."""
    wrong = np.flatnonzero(~predictions.scorer.correct)
    confidence = np.nan_to_num(predictions.scorer.confidence[wrong], nan=2.0)
    return wrong[np.argsort(-confidence, kind="stable")]


def worst_errors(photos: Photos) -> "Image":
    """The most confident wrong answers."""
    order = worst_order(photos.predictions)
    tiles = [photos.tile(place) for place in order[:WORST]]
    title = f"Worst errors: the {len(tiles)} most confident of {len(order):,} wrong answers"
    return draw_sheet(title, [Group(tiles)], nothing=f"All {len(photos.predictions):,} test images are answered right.")


def least_certain(photos: Photos) -> "Image":
    """The answers, right or wrong, whose two best classes lie closest together."""
    best = np.sort(photos.predictions.probabilities, axis=1)[:, -2:]
    margin = best[:, 1] - best[:, 0] if best.shape[1] == 2 else np.full(len(best), np.nan)
    order = np.argsort(margin, kind="stable")  # NaN sorts last
    tiles = [photos.tile(place) for place in order[: WORST // 2] if np.isfinite(margin[place])]
    return draw_sheet("Least certain: the smallest lead of the best class over the second", [Group(tiles)])


def confused_pairs(photos: Photos) -> "Image":
    """The pairs of classes that are most often taken for each other, in either direction, with examples."""
    own = photos.predictions
    counts = confusion(own.labels, own.predicted, len(own.classes))
    np.fill_diagonal(counts, 0)
    both = np.triu(counts + counts.T)
    groups = []
    for cell in np.argsort(-both, axis=None, kind="stable")[:PAIRS]:
        one, two = (int(place) for place in np.unravel_index(cell, both.shape))
        if not both[one, two]:
            break
        mine = ((own.labels == one) & (own.predicted == two)) | ((own.labels == two) & (own.predicted == one))
        places = [place for place in worst_order(own) if mine[place]][: PAIR_EXAMPLES + 1]
        a, b = own.classes[one], own.classes[two]
        heading = f"{a} called {b}: {counts[one, two]}×, {b} called {a}: {counts[two, one]}×"
        groups.append(Group([photos.tile(place) for place in places], heading))
    return draw_sheet("Most confused pairs", groups, nothing="No class is taken for another.")


def suspects(photos: Photos, order: np.ndarray) -> "Image":
    """Images whose label is likely wrong, in the order of suspicion (label_errors.label_errors)."""
    tiles = []
    for place in order[:WORST]:
        own, tile = photos.predictions, photos.tile(place)
        label, answer = own.labels[place], own.predicted[place]
        lines = [
            (f"label: {own.classes[label]}", WRONG),
            (f"rather: {own.classes[answer]} ({percent(own.probabilities[place, answer])})", INK),
            (photos.locations[place], PALE),
        ]
        tiles.append(Tile(tile.images, lines))
    title = f"Likely label errors: {len(order):,} of {len(photos.predictions):,} validation and test images"
    return draw_sheet(title, [Group(tiles)], nothing="No label looks wrong to the model.")


def to_look_at(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Which images to explain: right ones of different classes, and the most confident wrong ones."""
    right = np.flatnonzero(predictions.scorer.correct)
    labels = predictions.labels[right]
    present = np.unique(labels)
    some = present[np.linspace(0, max(0, len(present) - 1), min(LOOKED_AT, len(present))).astype(int)]
    share = -(-LOOKED_AT // max(1, len(some)))
    chosen = [right[labels == label][:share] for label in some]
    spread = np.concatenate([*chosen, np.empty(0, np.int64)])[:LOOKED_AT].astype(np.int64)
    wrong = [place for place in worst_order(predictions) if predictions.predicted[place] >= 0]
    return spread, np.array(wrong[:LOOKED_AT], np.int64)


def looks(photos: Photos, heat_on: Callable[[int], np.ndarray], method: str) -> "Image":
    """Images beside themselves with what spoke for the answer lit up; `heat_on(place)` gives that picture."""
    right, wrong = to_look_at(photos.predictions)
    groups = [
        Group([photos.tile(place, heat_on(place)) for place in places], heading)
        for heading, places in (("Right answers", right), ("Wrong answers", wrong))
    ]
    return draw_sheet(f"Where the model looks ({method}): bright places speak for the answer", groups)
