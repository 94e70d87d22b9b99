"""What a training learns from: the samples of train and val, as images and as cached features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.core.errors import DarkroomError
from darkroom.images.batches import Table
from darkroom.images.shards import Shards


@dataclass(frozen=True)
class Data:
    """What to learn from. `train_images`, `val_images` and, where the body is frozen, `train_features` and
    `val_features`: tables of the same samples in the same order. `facts`: index.json of the training images.
    `chosen`: what tells this choice of samples from another of the same shards (a digest of a fold's).
    """

    train_images: Table
    val_images: Table
    train_features: Table
    val_features: Table
    facts: dict[str, Any]
    chosen: str = ""

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the labels."""
        return self.train_images.classes

    def require_features(self) -> None:
        """Raise DarkroomError unless every training image's features are there."""
        if len(self.train_features) != len(self.train_images):
            raise DarkroomError("data/features does not hold the training images' features; run `dvc repro embed`")


def open_data(shards: Path, features: Path) -> Data:
    """The training and validation samples, as images and as features; the test split is never opened."""
    images = {split: Shards(shards / split) for split in ("train", "val")}
    cached = {split: Shards(features / split) for split in ("train", "val")}
    return Data(
        Table([images["train"]]),
        Table([images["val"]]),
        Table([cached["train"]]),
        Table([cached["val"]]),
        facts=images["train"].index,
    )
