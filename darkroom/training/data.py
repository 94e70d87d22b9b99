"""Open the training data: the samples of train and val, and the batches of features or images that a step reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from darkroom.core.errors import DarkroomError
from darkroom.images import augment
from darkroom.images.batches import Table, on_device, ready, views
from darkroom.images.shards import open_split

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FEATURES_AT_ONCE = 4096  # rows of features that are evaluated together


@dataclass(frozen=True)
class Data:
    """The samples of a training, as images and, where the body is frozen, as features, in the same order.

    `facts`: index.json of the training images. `chosen`: a digest of the rows where they are a part of the shards, as
    in a fold; otherwise "".
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
        """Raise DarkroomError unless the features of every training image are cached."""
        if len(self.train_features) != len(self.train_images):
            raise DarkroomError("data/features does not hold the training images' features; run `dvc repro embed`")


def open_data(shards: Path, features: Path) -> Data:
    """Return the training and validation samples, as images and as features; the test split is never opened."""
    images = {split: open_split(shards, split) for split in ("train", "val")}
    cached = {split: open_split(features, split, shards) for split in ("train", "val")}
    return Data(
        Table([images["train"]]),
        Table([images["val"]]),
        Table([cached["train"]]),
        Table([cached["val"]]),
        facts=images["train"].index,
    )


class Inputs(Protocol):
    """Samples of a table as tensors on the device."""

    table: Table

    def training(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator["tuple[Tensor, Tensor]"]:
        """Return for each of `parts`, samples int64 (b,), the network's inputs (b, …) in this epoch, and labels (b,).

        A number of n or more is a sample that comes again in this epoch, with another augmentation: see
        `balanced_order`.
        """
        ...

    def evaluation(self, batch_size: int, samples: np.ndarray) -> Iterator["Tensor"]:
        """Return the network's inputs of `samples` int64 (n,), in order, without augmentation."""
        ...


class FeatureInputs:
    """Rows of `data/features`: (b, D) float32. Of several views, epochs show one after the other."""

    def __init__(self, table: Table, device: "torch.device") -> None:
        self.table, self.device = table, device
        self._views = max((part.row_shape[0] for part in table.parts if len(part)), default=1)

    def training(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator["tuple[Tensor, Tensor]"]:
        """Yield (b, D) float32 and labels (b,) int64 of each part."""
        for samples in parts:
            indices, shown = samples % len(self.table), views(samples, self._views, len(self.table), epoch)
            yield on_device(self.table.features(indices, shown), self.device), _labels(self, indices)

    def evaluation(self, batch_size: int, samples: np.ndarray) -> Iterator["Tensor"]:
        """Yield (b, D) float32 of view 0, in order."""
        del batch_size  # one small product of matrices: memory does not limit it
        for start in range(0, len(samples), FEATURES_AT_ONCE):
            part = samples[start : start + FEATURES_AT_ONCE]
            yield on_device(self.table.features(part, np.zeros(len(part), np.int64)), self.device)


class ImageInputs:
    """Rows of `data/shards`: (b, 3, S, S) float32 in 0..1, channels last, augmented by `strength` in training.

    Images stay uint8 until they are on the device; the next batches are read while one is computed with.
    """

    def __init__(
        self, table: Table, device: "torch.device", seed: int, strength: augment.Strength | None, flips: bool
    ) -> None:
        self.table, self.device, self.seed, self.strength, self.flips = table, device, seed, strength, flips

    def training(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator["tuple[Tensor, Tensor]"]:
        """Return (b, 3, S, S) float32 and labels (b,) int64 of each part."""
        import torch

        def finish(samples: np.ndarray, rows: np.ndarray) -> "tuple[Tensor, Tensor]":
            images = self._pixels(rows)
            if self.strength is not None:
                draws = augment.draw(self.strength, self.flips, samples, self.seed, epoch)
                images = augment.apply(images, draws)
            return images.contiguous(memory_format=torch.channels_last), _labels(self, samples % len(self.table))

        return ready(parts, lambda samples: self.table.rows(samples % len(self.table)), finish, self.device)

    def evaluation(self, batch_size: int, samples: np.ndarray) -> Iterator["Tensor"]:
        """Return (b, 3, S, S) float32, in order."""
        parts = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
        made = ready(parts, self.table.rows, lambda _samples, rows: (self._pixels(rows),), self.device)
        return (images for (images,) in made)

    def _pixels(self, rows: np.ndarray) -> "Tensor":
        from darkroom.model.network import pixels

        return pixels(rows, self.device)


def _labels(inputs: FeatureInputs | ImageInputs, samples: np.ndarray) -> "Tensor":
    return on_device(inputs.table.labels[samples], inputs.device)
