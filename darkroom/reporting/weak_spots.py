"""Show where a classifier or its pictures are weak: slices of the test set, and pictures that hardly show anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.images.batches import balanced_places
from darkroom.images.quality import KINDS, Quality, doubtful, quality
from darkroom.images.shards import SPLITS, Shards, open_split
from darkroom.metrics.slices import Slice, slices
from darkroom.metrics.summary import Spread
from darkroom.reporting.evaluation import Material
from darkroom.reporting.pictures import data_uri, encoded

LOOKED_AT = 5000  # pictures of a split, at most, evenly of each class
SHOWN, SIDE = 8, 96  # pictures of a kind, and their side
AT_ONCE = 256


def slices_of_test(material: Material) -> list[Slice]:
    """Return the slices by group, file type, size, shape and brightness, the surest to be worse first."""
    own, samples = material.test.predictions, material.test.shards.samples()
    sides = _sides(samples)
    texts = {
        "group": own.groups or [""] * len(own),
        "file type": [Path(row["location"]).suffix.lower() for row in samples],
    }
    numbers = {"shorter side": _known(sides.min(axis=1)), "long over short side": _shape(sides)}
    if len(own) <= LOOKED_AT:
        numbers["brightness"] = measured(material.test.shards, np.arange(len(own))).brightness
    spread = Spread(own, 0, 0)
    return slices(own.scorer.correct, texts, numbers, spread.effect, spread.z)


def doubtful_pictures(shards: Path) -> dict[str, Any]:
    """Return, of each kind that occurs, how many pictures there are of it and the worst with where they lie.

    `looked_at` and `of`: pictures that were measured, and that there are.
    """
    rows: list[tuple[Shards, int]] = []
    samples: list[dict[str, str]] = []
    parts: list[Quality] = []
    count = 0
    for split in SPLITS:
        images = open_split(shards, split)
        count += len(images)
        if not len(images):
            continue
        chosen = balanced_places(images.labels, len(images.classes), LOOKED_AT)
        listed = images.samples()
        rows += [(images, int(at)) for at in chosen]
        samples += [listed[at] for at in chosen]
        parts.append(measured(images, chosen))
    if not rows:
        return {"looked_at": 0, "of": 0, "kinds": []}
    found = Quality(*(np.concatenate([getattr(part, name) for part in parts])
                      for name in ("brightness", "contrast", "sharpness")))  # fmt: skip
    kinds = doubtful(found, _sides(samples), int(rows[0][0].row_shape[0]))
    shown = []
    for kind in KINDS:
        worst = kinds[kind][:SHOWN]
        pictures = [
            (data_uri(encoded(rows[at][0].rows(np.array([rows[at][1]]))[0], SIDE, 50)), samples[at]["location"])
            for at in worst
        ]
        if pictures:
            shown.append({"kind": kind, "count": len(kinds[kind]), "pictures": pictures})
    return {"looked_at": len(rows), "of": count, "kinds": shown}


def measured(images: Shards, rows: np.ndarray) -> Quality:
    """Return the quality of the pictures at `rows` int64 (n,), read a few at a time."""
    parts = [quality(images.rows(rows[at : at + AT_ONCE])) for at in range(0, len(rows), AT_ONCE)]
    empty = np.empty(0)
    return Quality(*(np.concatenate([getattr(part, name) for part in parts] or [empty])
                     for name in ("brightness", "contrast", "sharpness")))  # fmt: skip


def _sides(samples: Sequence[dict[str, str]]) -> np.ndarray:
    """Return width and height of each sample's file, int64 (n, 2), 0 where they are unknown."""
    values = [(int(row.get("width") or 0), int(row.get("height") or 0)) for row in samples]
    return np.array(values, np.int64).reshape(-1, 2)


def _known(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _shape(sides: np.ndarray) -> np.ndarray:
    return np.where(sides.min(axis=1) > 0, sides.max(axis=1) / np.maximum(sides.min(axis=1), 1), np.nan)
