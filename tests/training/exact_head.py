"""Train heads with every setting and print one hash of all that comes of them: the same on every processor.

Needs numpy and threadpoolctl alone, so that it also runs on an emulated one: benchmarks/processors.py does that.
"""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.exactmath import softmax
from darkroom.images.batches import Table
from darkroom.images.shard_writer import write_shards
from darkroom.images.shards import Shards
from darkroom.model import classifier
from darkroom.training import linear
from darkroom.training.calibrate import fit_temperature
from darkroom.training.recipe import Recipe
from tests.training.recipes import RECIPE, SETTINGS

CLASSES, FEATURES, VIEWS = ["ant", "bee", "cat"], 40, 3


def write_features(folder: Path) -> None:
    """Write features of three classes that overlap, of different sizes, in several shards, for train, val and none."""
    random = np.random.default_rng(0)
    centres = random.random((3, FEATURES)) - 0.5
    for split, count in (("train", 150), ("val", 60), ("none", 0)):
        with write_shards(folder / split, "features", CLASSES, shard_bytes=10_000) as writer:
            for number in range(count):
                label = min(2, number % 7 // 2)
                rows = centres[label] + 2 * random.random((VIEWS, FEATURES)) - 1
                writer.add(rows.astype(np.float32), label, f"{number:064x}")
            writer.close()


def hash_of_trainings(folder: Path) -> str:
    """Return the digest of weights, curves, logits, temperature and probabilities of a training with each setting."""
    train, val = (Table([Shards(folder / split)]) for split in ("train", "val"))
    found = hashlib.sha256()
    for name, changes in SETTINGS.items():
        values: dict[str, Any] = RECIPE | {"epochs": 6, "batch_size": 16} | changes
        recipe = Recipe(**values)
        head = classifier.initial(recipe.head_facts, FEATURES, len(CLASSES), recipe.seed)
        trained = linear.train_head(train, val, head, recipe)
        temperature = fit_temperature(trained.logits, val.labels)
        found.update(json.dumps([name, trained.history, trained.best_epoch, temperature]).encode())
        for value in (*trained.head.values(), trained.logits, softmax(trained.logits, temperature)):
            found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        write_features(Path(scratch))
        print(hash_of_trainings(Path(scratch)))
