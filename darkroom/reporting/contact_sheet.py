"""Draw images of each class as the model sees them, and under each strength of `augment`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darkroom.images.augment import STRENGTHS, augmented, draw
from darkroom.images.shards import Shards
from darkroom.reporting.figures import caption_names
from darkroom.reporting.sheets import INK, PALE, SMALL_SIDE, Group, Tile, draw_sheet, save_png

CLASSES_SHOWN, IMAGES_SHOWN = 12, 3


def draw_samples(train: Path, path: Path) -> None:
    """Write a PNG, a row a class: images as preprocessed, then the same as each strength of `augment` shows them."""
    shards = Shards(train)
    strengths = {name: strength for name, strength in STRENGTHS.items() if strength is not None}
    names, tiles = caption_names(shards.classes), []
    for label in _spaced(range(len(shards.classes)), CLASSES_SHOWN):
        rows = np.flatnonzero(shards.labels == label)[:IMAGES_SHOWN]
        images = shards.rows(rows)
        blank = [np.full_like(images[0], 255)] * (IMAGES_SHOWN - len(rows)) if len(rows) else []
        tiles.append(Tile([*images, *blank], [(names[label], INK)]))
        for name, strength in strengths.items():
            changed = augmented(images, draw(strength, shards.index["flips"], rows, 0, 0))
            tiles.append(Tile([*changed, *blank], [(f"augment: {name}", PALE)]))
    more = f" ({CLASSES_SHOWN} of {len(shards.classes)} classes)" if len(shards.classes) > CLASSES_SHOWN else ""
    title = f"What the model sees: {shards.index['image_size']} px{more}"
    columns = IMAGES_SHOWN * (1 + len(strengths))
    save_png(path, draw_sheet(title, [Group(tiles)], columns, side=SMALL_SIDE))


def _spaced(items: Sequence[int], count: int) -> list[int]:
    """Return at most `count` items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
