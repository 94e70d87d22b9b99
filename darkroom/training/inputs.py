"""What a training step reads: cached features, or images that are augmented on the device."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from darkroom.data import augment
from darkroom.data.batches import Table, read_ahead, views

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FEATURES_AT_ONCE = 4096  # rows of features that are evaluated together


class Inputs(Protocol):
    """Samples of a table as tensors on the device."""

    table: Table

    def training(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator["tuple[Tensor, Tensor]"]:
        """For each of `parts`, samples int64 (b,), what the network takes (b, …) in this epoch, and labels (b,).

        A number of n or more is a sample that comes again in this epoch, drawn anew: see `balanced_order`.
        """
        ...

    def evaluation(self, batch_size: int, samples: np.ndarray) -> Iterator["Tensor"]:
        """What the network takes, of `samples` int64 (n,) in order, nothing drawn."""
        ...


class FeatureInputs:
    """Rows of `data/features`: (b, D) float32. With several views, (seed, epoch, sample) says which."""

    def __init__(self, table: Table, device: "torch.device", seed: int) -> None:
        self.table, self.device, self.seed = table, device, seed
        self._views = max((part.row_shape[0] for part in table.parts if len(part)), default=1)

    def training(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator["tuple[Tensor, Tensor]"]:
        """(b, D) float32 and labels (b,) int64 of each part."""
        for samples in parts:
            places, shown = samples % len(self.table), views(samples, self._views, self.seed, epoch)
            yield _tensor(self.table.features(places, shown), self.device), _labels(self, places)

    def evaluation(self, batch_size: int, samples: np.ndarray) -> Iterator["Tensor"]:
        """(b, D) float32 of view 0, in order."""
        del batch_size  # one small product of matrices: memory is no limit
        for start in range(0, len(samples), FEATURES_AT_ONCE):
            part = samples[start : start + FEATURES_AT_ONCE]
            yield _tensor(self.table.features(part, np.zeros(len(part), np.int64)), self.device)


class ImageInputs:
    """Rows of `data/shards`: (b, 3, S, S) float32 in 0..1, channels last, augmented by `strength` in training.

    Images stay uint8 until they are on the device; a thread reads the next batches meanwhile.
    """

    def __init__(
        self, table: Table, device: "torch.device", seed: int, strength: augment.Strength | None, flips: bool
    ) -> None:
        self.table, self.device, self.seed, self.strength, self.flips = table, device, seed, strength, flips

    def training(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator["tuple[Tensor, Tensor]"]:
        """(b, 3, S, S) float32 and labels (b,) int64 of each part."""
        import torch

        places = [samples % len(self.table) for samples in parts]
        for samples, mine, rows in zip(parts, places, read_ahead(places, self.table.rows), strict=True):
            images = self._pixels(rows)
            if self.strength is not None:
                draws = augment.draw(self.strength, self.flips, samples, self.seed, epoch)
                images = augment.apply(images, draws)
            yield images.contiguous(memory_format=torch.channels_last), _labels(self, mine)

    def evaluation(self, batch_size: int, samples: np.ndarray) -> Iterator["Tensor"]:
        """(b, 3, S, S) float32, in order."""
        parts = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
        for rows in read_ahead(parts, self.table.rows):
            yield self._pixels(rows)

    def _pixels(self, rows: np.ndarray) -> "Tensor":
        return _tensor(rows, self.device).permute(0, 3, 1, 2).float().div_(255)


def _tensor(rows: np.ndarray, device: "torch.device") -> "Tensor":
    import torch

    tensor = torch.from_numpy(rows)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _labels(inputs: FeatureInputs | ImageInputs, samples: np.ndarray) -> "Tensor":
    return _tensor(inputs.table.labels[samples], inputs.device)
