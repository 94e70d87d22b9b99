"""Draw some images of each class as the model sees them, and as each strength of `augment` changes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darkroom.images.augment import STRENGTHS, augmented, draw
from darkroom.images.shards import Shards
from darkroom.reporting.data_figures import save_sheet
from darkroom.reporting.figures import drawn_names

CLASSES_SHOWN, IMAGES_SHOWN = 12, 3
LONGEST = 22  # characters of a class name


def draw_samples(train: Path, path: Path, seed: int = 0) -> None:
    """Some images of each class as the model sees them, and the same as each strength of `augment` changes them."""
    shards = Shards(train)
    strengths = {name: strength for name, strength in STRENGTHS.items() if strength is not None}
    rows, names = [], drawn_names(shards.classes, LONGEST)
    for label in _spaced(range(len(shards.classes)), CLASSES_SHOWN):
        places = np.flatnonzero(shards.labels == label)[:IMAGES_SHOWN]
        images = shards.rows(places)
        flips = shards.index["flips"]
        changed = [list(augmented(images, draw(strength, flips, places, seed, 0))) for strength in strengths.values()]
        rows.append((names[label], [list(images), *changed]))
    more = f" ({CLASSES_SHOWN} of {len(shards.classes)} classes)" if len(shards.classes) > CLASSES_SHOWN else ""
    title = f"What the model sees: {shards.index['image_size']} px{more}"
    save_sheet(path, title, ["as preprocessed", *(f"augment: {name}" for name in strengths)], rows)


def _spaced(items: Sequence[int], count: int) -> list[int]:
    """At most `count` items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
