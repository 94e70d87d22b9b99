"""The body in use: from pixels to features (and maps), by onnxruntime where embed exported it, otherwise by torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from darkroom.images.shards import Shards

if TYPE_CHECKING:
    import torch

    from darkroom.model.network import Body


class Looker(Protocol):
    """Anything that turns images (n, S, S, 3) uint8 into features (n, D) float32."""

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, D) float32."""

    def features_and_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features, and the maps (n, D, h, w) whose average they are, or None where there are none."""


class TorchBody:
    """A torch body in eval mode, in float32, whatever precision it was trained in."""

    def __init__(self, body: "Body", device: "torch.device") -> None:
        self.body, self.device = body.eval().to(device), device

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, D) float32."""
        import torch

        from darkroom.model.network import pixels

        with torch.inference_mode():
            return self.body(pixels(images, self.device)).float().cpu().numpy()

    def features_and_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features and maps, None where the features are no average of a map."""
        import torch

        from darkroom.model.network import pixels

        with torch.inference_mode():
            features, maps = self.body.with_maps(pixels(images, self.device))
        return features.cpu().numpy(), None if maps is None else maps.cpu().numpy()


def in_batches(items: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Slices of at most `size` rows."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def features_of(body: Looker, batches: Iterable[np.ndarray]) -> np.ndarray:
    """The features (n, D) of images that come in batches; (0, 0) without a batch."""
    parts = [body.features(images) for images in batches]
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


def cached_features(folder: Path) -> tuple[np.ndarray, Shards] | None:
    """View 0 of the features in a folder of shards, (n, D), and the shards; None where embed wrote none."""
    shards = Shards(folder)
    if not len(shards):
        return None
    return shards.rows(np.arange(len(shards)))[:, 0], shards
